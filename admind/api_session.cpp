// Signing in and out, and what every page asks first: who am I, and what site is this.
#include <algorithm>

#include "admind/account_setup.h"
#include "admind/api_parts.h"
#include "admind/bounds.h"
#include "admind/handlers.h"
#include "admind/sessions.h"

namespace lumen::admind {

namespace {

constexpr const char* kFirstPage = "/profile";

/// A path of this site and nothing that a browser could read as another host.
bool is_local_path(std::string_view path) {
    return !path.empty() && path.size() <= 1024 && path[0] == '/' &&
           (path.size() == 1 || (path[1] != '/' && path[1] != '\\')) &&
           std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < '\x7f' && c != '\\'; });
}

std::string query_escaped(std::string_view text) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '_' || c == '.' || c == '~' || c == '/';
        if (plain) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += '%';
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        }
    }
    return out;
}

Answer redirect(int status, const std::string& location) {
    Answer answer;
    answer.status = status;
    answer.headers.emplace_back("Location", location);
    return answer;
}

bool is_https(const Settings& settings) {
    return settings.app.public_url.compare(0, 8, "https://") == 0;
}

/// `rate_limiting.login`, counted in Redis for all copies of admind together. Only this host can sign in by /devlogin,
/// so its one address is the key.
bool login_allowed(RedisLink& redis, const std::vector<Rate>& rates) {
    for (const Rate& rate : rates) {
        const std::int64_t window = unix_ms_now() / 1000 / rate.period.count();
        const std::string key =
            "lumen:login:loopback:" + std::to_string(rate.period.count()) + ":" + std::to_string(window);
        const RedisReply count = redis.command({"INCR", key});
        redis.command({"EXPIRE", key, std::to_string(rate.period.count())});
        if (count->type == REDIS_REPLY_INTEGER && count->integer > rate.count) return false;
    }
    return true;
}

struct DevAccount {
    std::int64_t user = 0;
    AccountId account = 0;
    bool active = true;
};

std::optional<DevAccount> find_user(PgPool& postgres, const std::string& email) {
    PgPool::Lease lease = postgres.acquire();
    pqxx::work transaction(*lease);
    const auto rows = transaction.exec_params("select id, account_id, active from users where email = $1", email);
    if (rows.empty()) return std::nullopt;
    return DevAccount{rows[0][0].as<std::int64_t>(), rows[0][1].as<AccountId>(), rows[0][2].as<bool>()};
}

}  // namespace

Answer get_login(const Call& call) {
    const std::string next = call.http.query_value("next").value_or(kFirstPage);
    return redirect(302, "/sign-in?next=" + query_escaped(is_local_path(next) ? next : kFirstPage));
}

Answer post_devlogin(const Call& call) {
    const AppSettings& app = call.settings.app;
    if (!app.debug || !app.dev_user || !call.http.loopback) return not_found();
    {
        RedisPool::Lease redis = call.services.redis.acquire();
        if (!login_allowed(*redis, call.settings.rates.login)) {
            Answer answer(Problem{429, "rate_limited", "Too many attempts to sign in. Wait a minute."});
            answer.headers.emplace_back("Retry-After", "60");
            return answer;
        }
    }
    const std::string& email = app.dev_user->email;
    auto user = find_user(call.services.postgres, email);
    if (!user) {
        create_user(call.services, call.settings, email, email.substr(0, email.find('@')), {});
        user = find_user(call.services.postgres, email);
    }
    if (!user || !user->active) return Problem{403, "account_disabled", "This account is deactivated."};

    RedisPool::Lease redis = call.services.redis.acquire();
    const NewSession session = begin_session(*redis, user->user, user->account, unix_ms_now());
    Answer answer = redirect(303, kFirstPage);
    answer.headers.emplace_back("Set-Cookie", set_cookie_header(session.cookie, is_https(call.settings),
                                                                std::chrono::seconds(kSessionLife).count()));
    return answer;
}

Answer post_logout(const Call& call) {
    RedisPool::Lease redis = call.services.redis.acquire();
    end_session(*redis, session_cookie(call.http.header("cookie")), call.caller.account);
    Answer answer = redirect(303, "/");
    answer.headers.emplace_back("Set-Cookie", set_cookie_header("", is_https(call.settings), 0));
    return answer;
}

Json session_json(const Call& call) {
    const Caller& caller = call.caller;
    const bool signed_in = caller.kind == CallerKind::user;
    return {{"user", signed_in ? Json{{"id", id_json(caller.user)}, {"name", caller.name}, {"email", caller.email}}
                               : Json(nullptr)},
            {"is_admin", caller.is_admin},
            {"expires_at", utc_json(caller.session_expires_ms)},
            {"now", utc_text(unix_ms_now())}};
}

namespace {

/// The ways in that the sign-in page offers.
Json ways_to_sign_in(const Settings& settings) {
    Json ways = Json::array();
    if (!settings.oauth.client_id.empty()) ways.push_back("provider");
    if (settings.app.debug && settings.app.dev_user) ways.push_back("development");
    return ways;
}

}  // namespace

Json site_json(const Settings& settings, std::string_view email) {
    const AppSettings& app = settings.app;
    Json links = Json::array();
    for (const Link& link : app.footer_links) links.push_back({{"label", link.label}, {"url", link.url}});
    if (!app.github_url.empty()) {
        links.push_back({{"label", "GitHub Repository"}, {"url", app.github_url}});
        links.push_back({{"label", "Request Feature"}, {"url", app.github_url + "/issues"}});
    }
    return {{"name", app.name},
            {"tagline", app.tagline},
            {"theme", app.theme_of(email)},
            {"announcement", app.announcement},
            {"support", app.support_address.empty()
                            ? Json(nullptr)
                            : Json{{"address", app.support_address}, {"subject", app.support_subject}}},
            {"links", std::move(links)},
            {"public_url", app.public_url},
            {"sign_in", ways_to_sign_in(settings)},
            {"version", LUMEN_VERSION}};
}

Answer get_session(const Call& call) {
    return {200, session_json(call)};
}
Answer get_site(const Call& call) {
    return {200, site_json(call.settings, call.caller.email)};
}

}  // namespace lumen::admind

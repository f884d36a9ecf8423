// Signing in and out, and what every page asks first: who am I, and what site is this.
#include <algorithm>

#include <Poco/Logger.h>

#include "admind/bounds.h"
#include "admind/people/oidc_provider.h"
#include "admind/people/pending_logins.h"
#include "admind/people/sessions.h"
#include "admind/people/sign_in.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/handlers.h"
#include "admind/rest/rate_limit.h"
#include "admind/text/url_text.h"
#include "lumen_core/address_range.h"
#include "lumen_core/catalogue.h"

namespace lumen::admind {

namespace {

constexpr const char* kFirstPage = "/profile";

Answer redirect(int status, const std::string& location) {
    Answer answer;
    answer.status = status;
    answer.headers.emplace_back("Location", location);
    return answer;
}

bool is_https(const Settings& settings) {
    return settings.app.public_url.compare(0, 8, "https://") == 0;
}

/// An IPv6 customer has a whole /64 to come from.
std::string counted_address(const std::string& client) {
    const bool is_v6 = client.find(':') != std::string::npos;
    const auto range = parse_address_range(is_v6 ? client + "/64" : client);
    return range ? address_range_text(*range) : client;
}

/// `rate_limiting.login`, for each client address, over all copies of admind together. Each step of a sign-in counts
/// apart, so that one sign-in is one.
std::optional<Answer> over_login_rate(const Call& call, const char* step) {
    RedisPool::Lease redis = call.services.redis.acquire();
    const std::int64_t wait = seconds_over_rate(*redis, std::string(step) + " " + counted_address(call.http.client),
                                                call.settings.rates.login);
    if (wait == 0) return std::nullopt;
    Answer answer(Problem{429, "rate_limited", "Too many sign-ins from this address. Wait a moment."});
    answer.headers.emplace_back("Retry-After", std::to_string(wait));
    return answer;
}

/// A session of its own for each sign-in: what this browser had before ends.
Answer enter(const Call& call, const SignedIn& who, const std::string& next, int status) {
    RedisPool::Lease redis = call.services.redis.acquire();
    const std::string before = cookie_value(call.http.header("cookie"), kSessionCookie);
    const auto old = before.empty() ? std::nullopt : find_session(*redis, before, unix_ms_now());
    if (old) end_session(*redis, before, old->account);
    const NewSession session = begin_session(*redis, who.user, who.account, unix_ms_now());
    Answer answer = redirect(status, next);
    answer.headers.emplace_back("Set-Cookie", set_cookie_header(kSessionCookie, session.cookie, is_https(call.settings),
                                                                std::chrono::seconds(kSessionLife).count()));
    return answer;
}

Answer enter_or_refuse(const Call& call, const std::variant<SignedIn, Problem>& result, const std::string& next,
                       int status) {
    if (const auto* refused = std::get_if<Problem>(&result)) return *refused;
    return enter(call, std::get<SignedIn>(result), next, status);
}

std::string authorization_url(const OauthSettings& oauth, const ProviderMetadata& provider,
                              const NewPendingLogin& begun) {
    FormText query;
    query.add("response_type", "code");
    query.add("client_id", oauth.client_id);
    query.add("redirect_uri", oauth.redirect_uri);
    query.add("scope", oauth.scopes);
    query.add("state", begun.state);
    query.add("nonce", begun.login.nonce);
    query.add("code_challenge", begun.challenge);
    query.add("code_challenge_method", "S256");
    for (const auto& [name, value] : oauth.params) query.add(name, value);
    const std::string& endpoint = provider.authorization_endpoint;
    return endpoint + (endpoint.find('?') == std::string::npos ? "?" : "&") + query.text();
}

Problem provider_failed(const Call& call, const std::string& why) {
    Poco::Logger::get("sign_in").warning("the identity provider failed: request=" + call.http.id + " error=" + why);
    return {502, "oidc_provider_error", "The identity provider did not complete the sign-in. Try again."};
}

Problem state_mismatch() {
    return {400, "oidc_state_mismatch", "This sign-in was begun elsewhere, or too long ago. Begin again."};
}

/// What the provider sent back, as a word for the log.
std::string error_word(const std::string& error) {
    constexpr std::size_t kLongest = 64;
    const bool plain = error.size() <= kLongest && std::all_of(error.begin(), error.end(), [](char c) {
                           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
                       });
    return plain ? error : "an unreadable error";
}

}  // namespace

Answer get_login(const Call& call) {
    if (auto refused = over_login_rate(call, "login")) return std::move(*refused);
    const std::string wanted = call.http.query_value("next").value_or(kFirstPage);
    const std::string next = is_local_path(wanted) ? wanted : kFirstPage;
    const OauthSettings& oauth = call.settings.oauth;
    if (oauth.client_id.empty()) return redirect(302, "/sign-in?next=" + url_escaped(next, "/"));
    try {
        const ProviderMetadata provider = call.services.oidc->metadata(oauth);
        RedisPool::Lease redis = call.services.redis.acquire();
        const std::string browser = cookie_value(call.http.header("cookie"), kLoginCookie);
        const NewPendingLogin begun = begin_login(*redis, next, browser);
        Answer answer = redirect(302, authorization_url(oauth, provider, begun));
        answer.headers.emplace_back(
            "Set-Cookie", set_cookie_header(kLoginCookie, begun.browser, is_https(call.settings), kLoginLife.count()));
        return answer;
    } catch (const ProviderError& error) {
        return provider_failed(call, error.what());
    }
}

Answer get_callback(const Call& call) {
    if (auto refused = over_login_rate(call, "callback")) return std::move(*refused);
    const OauthSettings& oauth = call.settings.oauth;
    if (oauth.client_id.empty()) return not_found();
    std::optional<PendingLogin> pending;
    {
        RedisPool::Lease redis = call.services.redis.acquire();
        pending = take_login(*redis, call.http.query_value("state").value_or(""),
                             cookie_value(call.http.header("cookie"), kLoginCookie));
    }
    if (!pending) return state_mismatch();
    try {
        const std::string issuer = call.services.oidc->metadata(oauth).issuer;
        // RFC 9207: an answer of another provider is no answer to this question.
        if (call.http.query_value("iss").value_or(issuer) != issuer) return state_mismatch();
        if (const auto error = call.http.query_value("error")) throw ProviderError(error_word(*error));
        const auto code = call.http.query_value("code");
        if (!code || code->empty()) throw ProviderError("no code");
        const Json claims = call.services.oidc->redeem(oauth, {*code, pending->verifier, pending->nonce});
        return enter_or_refuse(call, sign_in_by_claims(call.services, call.settings, issuer, claims), pending->next,
                               302);
    } catch (const ProviderError& error) {
        return provider_failed(call, error.what());
    }
}

Answer post_devlogin(const Call& call) {
    const AppSettings& app = call.settings.app;
    if (!app.debug || !app.dev_user || !call.http.loopback) return not_found();
    if (auto refused = over_login_rate(call, "devlogin")) return std::move(*refused);
    return enter_or_refuse(call, sign_in_dev_user(call.services, call.settings), kFirstPage, 303);
}

Answer post_logout(const Call& call) {
    RedisPool::Lease redis = call.services.redis.acquire();
    end_session(*redis, cookie_value(call.http.header("cookie"), kSessionCookie), call.caller.account);
    Answer answer = redirect(303, "/");
    answer.headers.emplace_back("Set-Cookie", set_cookie_header(kSessionCookie, "", is_https(call.settings), 0));
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

#include "admind/rest/routes.h"

#include <Poco/Exception.h>
#include <Poco/Logger.h>
#include <Poco/URI.h>
#include <openssl/sha.h>

#include <algorithm>

#include "admind/rest/api_gate.h"
#include "admind/rest/csv.h"
#include "admind/rest/handlers.h"
#include "admind/rest/idempotency.h"
#include "admind/rest/rate_limit.h"

namespace lumen::admind {

const std::vector<Route>& routes() {
    using enum Who;
    using enum Demand;
    static const std::vector<Route> table{
        {"GET", "/healthz", anyone, get_healthz},
        {"GET", "/readyz", anyone, get_readyz},
        {"GET", "/metrics", anyone, get_metrics},
        {"GET", "/api/openapi.json", anyone, get_openapi},

        {"GET", "/api/v1/login", anyone, get_login},
        {"GET", "/callback", anyone, get_callback},
        {"POST", "/api/v1/devlogin", anyone, post_devlogin},
        {"POST", "/api/v1/logout", user, post_logout},
        {"GET", "/api/v1/session", visitor, get_session},
        {"GET", "/api/v1/site", visitor, get_site},

        {"GET", "/api/v1/me", user, get_me},
        {"PATCH", "/api/v1/me", user, patch_me},
        {"GET", "/api/v1/me/avatar", user, get_my_avatar},
        {"GET", "/api/v1/me/profile", user, get_profile},
        {"POST", "/api/v1/me/keys/draft", user, post_key_draft},
        {"DELETE", "/api/v1/me/keys/draft/{id}", user, delete_key_draft},
        {"GET", "/api/v1/me/keys", user, get_my_keys},
        {"POST", "/api/v1/me/keys", user, post_my_key},
        {"PATCH", "/api/v1/me/keys/{id}", user, patch_my_key},
        {"DELETE", "/api/v1/me/keys/{id}", user, delete_my_key},
        {"GET", "/api/v1/me/models", user, get_my_models},
        {"POST", "/api/v1/me/consents", user, post_my_consent},
        {"GET", "/api/v1/usage/forecast", user, get_forecast},

        {"GET", "/api/v1/models", visitor, get_models},
        {"GET", "/api/v1/models/{name}", visitor, get_model},
        {"GET", "/api/v1/readmes/{name}", visitor, get_readme},

        {"GET", "/api/v1/projects", member, get_projects},
        {"POST", "/api/v1/projects", admin, post_project},
        {"GET", "/api/v1/projects/{id}", member, get_project},
        {"PATCH", "/api/v1/projects/{id}", member, patch_project, if_match},
        {"POST", "/api/v1/projects/{id}/managers", member, post_project_manager},
        {"DELETE", "/api/v1/projects/{id}/managers/{user}", member, delete_project_manager, if_match},
        {"PUT", "/api/v1/projects/{id}/owner", member, put_project_owner, if_match},
        {"GET", "/api/v1/projects/{id}/user-search", member, get_project_user_search},
        {"POST", "/api/v1/projects/{id}/keys/draft", member, post_project_key_draft},
        {"DELETE", "/api/v1/projects/{id}/keys/draft/{draft}", member, delete_project_key_draft, if_match},
        {"GET", "/api/v1/projects/{id}/keys", member, get_project_keys},
        {"POST", "/api/v1/projects/{id}/keys", member, post_project_key},
        {"PATCH", "/api/v1/projects/{id}/keys/{key}", member, patch_project_key, if_match},
        {"DELETE", "/api/v1/projects/{id}/keys/{key}", member, delete_project_key, if_match},
        {"GET", "/api/v1/projects/{id}/models", member, get_project_models},
        {"POST", "/api/v1/projects/{id}/consents", member, post_project_consent},

        {"GET", "/api/v1/admin/users", admin, get_users},
        {"POST", "/api/v1/admin/users", admin, post_user, idempotency_key},
        {"GET", "/api/v1/admin/users/{id}", admin, get_user},
        {"PATCH", "/api/v1/admin/users/{id}", admin, patch_user, if_match},
        {"GET", "/api/v1/admin/accounts/{id}", admin, get_account},
        {"GET", "/api/v1/admin/accounts/{id}/statement", admin, get_statement},
        {"PUT", "/api/v1/admin/accounts/{id}/limits", admin, put_limits, if_match},
        {"DELETE", "/api/v1/admin/accounts/{id}/limits", admin, delete_limits, if_match},
        {"POST", "/api/v1/admin/accounts/{id}/grants", admin, post_grant, idempotency_key},
        {"POST", "/api/v1/admin/accounts/{id}/reset", admin, post_reset, idempotency_key},
        {"GET", "/api/v1/admin/accounts/{id}/keys", admin, get_account_keys},
        {"POST", "/api/v1/admin/accounts/{id}/keys", admin, post_account_key},
        {"DELETE", "/api/v1/admin/accounts/{id}/keys/{key}", admin, delete_account_key, if_match},
        {"PUT", "/api/v1/admin/accounts/{id}/access", admin, put_account_access, if_match},
        {"GET", "/api/v1/admin/access", admin, get_access},
        {"GET", "/api/v1/admin/groups", admin, get_groups},
        {"POST", "/api/v1/admin/groups", admin, post_group},
        {"POST", "/api/v1/admin/groups/match", admin, post_groups_match},
        {"GET", "/api/v1/admin/groups/{name}", admin, get_group},
        {"PUT", "/api/v1/admin/groups/{name}", admin, put_group, if_match},
        {"DELETE", "/api/v1/admin/groups/{name}", admin, delete_group, if_match},
        {"GET", "/api/v1/admin/groups/{name}/members", admin, get_members},
        {"PUT", "/api/v1/admin/groups/{name}/members/{account}", admin, put_member, if_match},
        {"DELETE", "/api/v1/admin/groups/{name}/members/{account}", admin, delete_member, if_match},
        {"GET", "/api/v1/admin/models", admin, get_admin_models},
        {"GET", "/api/v1/admin/models/{id}", admin, get_admin_model},
        {"POST", "/api/v1/admin/models", admin, post_admin_model},
        {"PUT", "/api/v1/admin/models/{id}", admin, put_admin_model, if_match},
        {"DELETE", "/api/v1/admin/models/{id}", admin, delete_admin_model, if_match},
        {"POST", "/api/v1/admin/models/{id}/ask-again", admin, post_model_ask_again},
        {"POST", "/api/v1/admin/models/{id}/sync", admin, post_model_sync},
        {"GET", "/api/v1/admin/models/{id}/prices", admin, get_prices},
        {"POST", "/api/v1/admin/models/{id}/prices", admin, post_price},
        {"DELETE", "/api/v1/admin/models/{id}/prices/{price}", admin, delete_price, if_match},
        {"GET", "/api/v1/admin/models/{id}/endpoints", admin, get_endpoints},
        {"POST", "/api/v1/admin/models/{id}/endpoints", admin, post_endpoint},
        {"PUT", "/api/v1/admin/models/{id}/endpoints/{eid}", admin, put_endpoint, if_match},
        {"DELETE", "/api/v1/admin/models/{id}/endpoints/{eid}", admin, delete_endpoint, if_match},
        {"POST", "/api/v1/admin/models/{id}/endpoints/{eid}/drain", admin, post_endpoint_drain},
        {"POST", "/api/v1/admin/models/{id}/endpoints/{eid}/activate", admin, post_endpoint_activate},
        {"POST", "/api/v1/admin/models/{id}/endpoints/{eid}/probe", admin, post_endpoint_probe},
        {"GET", "/api/v1/admin/ledger", admin, get_ledger},
        {"POST", "/api/v1/admin/refill", admin, post_refill, idempotency_key},
        {"GET", "/api/v1/admin/config", admin, get_config},
        {"PUT", "/api/v1/admin/config", token_admin, put_config, if_match},
        {"POST", "/api/v1/admin/config/validate", admin, post_config_validate},
        {"GET", "/api/v1/admin/config/status", admin, get_config_status},
        {"GET", "/api/v1/admin/audit", admin, get_audit},
        {"GET", "/api/v1/admin/operator-tokens", token_admin, get_operator_tokens},
        {"POST", "/api/v1/admin/operator-tokens", token_admin, post_operator_token},
        {"DELETE", "/api/v1/admin/operator-tokens/{id}", token_admin, delete_operator_token, if_match},
    };
    return table;
}

namespace {

/// What stood for a {…}: decoded text that the book can hold; nullopt: nothing of ours has such a name.
std::optional<std::string> decoded(std::string_view raw) {
    std::string text;
    try {
        Poco::URI::decode(std::string(raw), text);
    } catch (const Poco::Exception&) {
        return std::nullopt;
    }
    if (text.empty() || !is_utf8(text) || text.find('\0') != std::string::npos) return std::nullopt;
    return text;
}

enum class Match : std::uint8_t { none, takes_rest, exact };

Match match(std::string_view pattern, std::string_view path, std::vector<std::string>& captures) {
    captures.clear();
    while (true) {
        const std::size_t pattern_end = std::min(pattern.find('/', 1), pattern.size());
        const std::size_t path_end = std::min(path.find('/', 1), path.size());
        const std::string_view wanted = pattern.substr(0, pattern_end);
        if (wanted == "/{name}" && pattern_end == pattern.size() && path_end < path.size()) {
            const auto rest = decoded(path.substr(1));
            if (!rest) return Match::none;
            captures.push_back(*rest);
            return Match::takes_rest;
        }
        const std::string_view given = path.substr(0, path_end);
        if (wanted.size() > 1 && wanted[1] == '{') {
            const auto value = decoded(given.substr(std::min<std::size_t>(1, given.size())));
            if (!value) return Match::none;
            captures.push_back(*value);
        } else if (wanted != given) {
            return Match::none;
        }
        pattern.remove_prefix(pattern_end);
        path.remove_prefix(path_end);
        if (pattern.empty() || path.empty()) return pattern.empty() && path.empty() ? Match::exact : Match::none;
    }
}

}  // namespace

FoundRoute find_route(std::string_view method, std::string_view path) {
    FoundRoute found;
    std::vector<std::string> captures;
    for (const Route& route : routes()) {
        const Match how = match(route.pattern, path, captures);
        if (how == Match::none) continue;
        if (route.method != method) {
            if (!found.allowed.empty()) found.allowed += ", ";
            found.allowed += route.method;
            continue;
        }
        if (how == Match::takes_rest && found.route != nullptr) continue;
        found.route = &route;
        found.captures = captures;
        if (how == Match::exact) break;
    }
    return found;
}

namespace {

bool is_json(std::string_view content_type) {
    std::string type(content_type.substr(0, content_type.find(';')));
    std::transform(type.begin(), type.end(), type.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    while (!type.empty() && type.back() == ' ') type.pop_back();
    return type == "application/json";
}

/// B20. Operators bring no cookie along, so no other site can make a browser speak for them; a request without either
/// has no rights to borrow, except to sign in.
std::optional<Problem> check_origin(const Settings& settings, const HttpRequest& request, const Route& route) {
    const bool by_cookie =
        request.header("authorization").empty() && (!request.header("cookie").empty() || route.who == Who::anyone);
    if (request.method == "GET" || !by_cookie || same_origin(request, settings.app.public_url)) return std::nullopt;
    return Problem{403, "csrf_rejected", "This must come from a page of this site."};
}

/// A script that runs wild is slowed down, and cannot drown the others. Redis being away is no reason to refuse.
std::optional<Answer> check_write_rate(const Services& services, const Settings& settings, const Caller& caller) {
    std::int64_t wait = 0;
    try {
        RedisPool::Lease redis = services.redis.acquire();
        wait = seconds_over_rate(*redis, "write " + caller.label(), settings.rates.write);
    } catch (const RedisUnavailable&) {
        return std::nullopt;
    }
    if (wait == 0) return std::nullopt;
    Answer answer(Problem{429, "rate_limited", "Too many changes. Wait as long as Retry-After says."});
    answer.headers.emplace_back("Retry-After", std::to_string(wait));
    return answer;
}

/// `format=csv`: the same page of the list, as CSV.
Answer in_wanted_format(const Route& route, const HttpRequest& request, Answer answer) {
    const auto format = request.query_value("format");
    if (!format || *format == "json" || answer.status != 200 || !answer.body.is_object()) return answer;
    const std::vector<CsvColumn> columns = csv_columns(route.method, route.pattern);
    if (columns.empty()) return answer;
    if (*format != "csv") return Problem{400, "invalid_request", "format must be json or csv."};
    Answer csv;
    csv.text = csv_text(answer.body["data"], columns);
    csv.content_type = "text/csv; charset=utf-8";
    csv.headers.emplace_back("Content-Disposition", "attachment; filename=\"lumen.csv\"");
    const Json& next = answer.body["next_cursor"];
    if (next.is_string()) csv.headers.emplace_back("X-Next-Cursor", next.get<std::string>());
    return csv;
}

Answer dispatch(const Services& services, const HttpRequest& request) {
    const std::shared_ptr<const Settings> settings = services.settings.current();
    // The provider comes back to the path of `redirect_uri`, whatever that is.
    const bool is_callback = !settings->oauth.callback_path.empty() && request.path == settings->oauth.callback_path;
    const FoundRoute found = find_route(request.method, is_callback ? "/callback" : request.path);
    if (found.route == nullptr) {
        if (found.allowed.empty()) return Answer(not_found());
        Answer answer(Problem{405, "method_not_allowed", "This path takes " + found.allowed + "."});
        answer.headers.emplace_back("Allow", found.allowed);
        return answer;
    }
    const Route& route = *found.route;
    const bool unsafe = request.method != "GET";
    if (auto refused = check_origin(*settings, request, route)) return Answer(std::move(*refused));

    // A route for anyone must not fail on a stale cookie, nor on a token that belongs to its own protocol (/metrics).
    const bool may_be_nobody = route.who == Who::anyone || route.who == Who::visitor;
    CallerResult identified = route.who != Who::anyone ? identify(services, *settings, request) : CallerResult{};
    if (!may_be_nobody) {
        if (identified.refusal) return Answer(std::move(*identified.refusal));
        if (auto refused = authorise(identified.caller, route.who, unsafe)) return Answer(std::move(*refused));
        if (unsafe) {
            if (auto refused = check_write_rate(services, *settings, identified.caller)) return std::move(*refused);
        }
    }

    Json body;
    if (unsafe && !request.body.empty()) {
        if (!is_json(request.header("content-type"))) {
            return Answer(Problem{415, "unsupported_media_type", "Send application/json."});
        }
        auto parsed = parse_json(request.body);
        if (!parsed) return Answer(Problem{400, "invalid_request", "The body is not JSON."});
        body = std::move(*parsed);
    }
    if (route.demand == Demand::if_match && request.header("if-match").empty()) {
        return Answer(Problem{428, "precondition_required", "Send If-Match with the ETag you read, or `*`."});
    }
    const Call call{services, *settings, request, identified.caller, found.captures, body};
    if (route.demand != Demand::idempotency_key) return in_wanted_format(route, request, route.handler(call));
    return once(services.postgres, request, identified.caller.label(), request.method + " " + request.path,
                [&] { return route.handler(call); });
}

Answer unavailable(const char* code, const char* detail) {
    Answer answer(Problem{503, code, detail});
    answer.headers.emplace_back("Retry-After", "2");
    return answer;
}

Answer internal_error() {
    return Answer(Problem{500, "internal_error", "Something went wrong here; the log names this request."});
}

void log_failure(const HttpRequest& request, const char* what) {
    Poco::Logger::get("http").error("request failed: request=" + request.id + " method=" + request.method +
                                    " path=" + request.path + " error=" + what);
}

Answer answer_or_say_why(const Services& services, const HttpRequest& request) {
    try {
        return dispatch(services, request);
    } catch (const DatabaseUnavailable&) {
        return unavailable("database_unavailable", "The database is away. Try again in a moment.");
    } catch (const pqxx::broken_connection&) {
        return unavailable("database_unavailable", "The database is away. Try again in a moment.");
    } catch (const pqxx::in_doubt_error&) {
        return unavailable("database_unavailable", "It is not known whether this was recorded. Repeat it.");
    } catch (const pqxx::sql_error& problem) {
        log_failure(request, problem.what());
        if (gave_way(problem))
            return unavailable("database_unavailable", "The database is busy. Try again in a moment.");
        return internal_error();
    } catch (const RedisUnavailable&) {
        return unavailable("redis_unavailable", "Redis is away. Try again in a moment.");
    } catch (const std::exception& problem) {
        log_failure(request, problem.what());
        return internal_error();
    }
}

}  // namespace

HttpAnswer answer_request(const Services& services, const HttpRequest& request) noexcept {
    if (is_gate_path(request.path)) return answer_gate_request(services, request);
    return render(answer_or_say_why(services, request), request.id);
}

std::string content_etag(const Json& body) {
    const std::string text = to_text(body);
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
    static constexpr char kHex[] = "0123456789abcdef";
    std::string tag = "\"";
    for (int i = 0; i < 16; ++i) {
        tag += kHex[digest[i] >> 4];
        tag += kHex[digest[i] & 15];
    }
    return tag + "\"";
}

bool if_match(const HttpRequest& request, std::string_view etag) {
    std::string_view rest = request.header("if-match");
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find(','), rest.size());
        std::string_view one = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
        while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
        // A proxy that compresses an answer weakens its ETag; what it names is the same.
        if (one.substr(0, 2) == "W/") one.remove_prefix(2);
        if (one == "*" || one == etag) return true;
    }
    return false;
}

}  // namespace lumen::admind

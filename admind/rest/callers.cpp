#include "admind/rest/callers.h"

#include "admind/people/sessions.h"
#include "admind/stores/pg_statement.h"
#include "lumen_core/catalogue.h"

namespace lumen::admind {

namespace {

constexpr std::string_view kBearer = "Bearer ";
constexpr std::string_view kTokenPrefix = "lop_";

Problem unauthenticated() {
    return {401, "unauthenticated", "Sign in, or send an operator token."};
}

CallerResult identify_operator(const Services& services, const Settings& settings, std::string_view secret) {
    // Keys of users (`sk_…`) are for /v1 only; they are not even looked up here.
    if (secret.substr(0, kTokenPrefix.size()) != kTokenPrefix) return {{}, unauthenticated()};
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto token =
        find_operator_token(transaction, settings.app.encryption_key, settings.app.previous_encryption_key, secret);
    transaction.commit();
    if (!token) return {{}, unauthenticated()};
    Caller caller;
    caller.kind = CallerKind::token;
    caller.token = token->id;
    caller.name = token->name;
    caller.scope = token->scope;
    return {caller, std::nullopt};
}

constexpr Statement kPersonOfSession{"person_of_session",
                                     "select account_id, email, name from users where id = $1 and active"
                                     " and sessions_since <= to_timestamp($2::numeric / 1000)"};

CallerResult identify_user(const Services& services, const Settings& settings, const std::string& cookie) {
    std::optional<Session> session;
    {
        RedisPool::Lease redis = services.redis.acquire();
        session = find_session(*redis, cookie, unix_ms_now());
    }
    if (!session) return {};
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::nontransaction look(*lease);  // one statement needs no begin and no end: every page asks this
    const auto rows = exec_prepared(look, kPersonOfSession, session->user, session->created_ms);
    if (rows.empty()) return {};
    Caller caller;
    caller.kind = CallerKind::user;
    caller.user = session->user;
    caller.account = rows[0][0].as<AccountId>();
    caller.email = rows[0][1].as<std::string>();
    caller.name = rows[0][2].as<std::string>();
    caller.is_admin = settings.is_admin(caller.email);
    caller.session_expires_ms = session->expires_ms;
    return {caller, std::nullopt};
}

}  // namespace

std::string Caller::label() const {
    switch (kind) {
        case CallerKind::user:
            return "user:" + std::to_string(user);
        case CallerKind::token:
            return "token:" + std::to_string(token);
        case CallerKind::nobody:
            break;
    }
    return "nobody";
}

CallerResult identify(const Services& services, const Settings& settings, const HttpRequest& request) {
    const std::string_view authorization = request.header("authorization");
    if (!authorization.empty()) {
        if (authorization.substr(0, kBearer.size()) != kBearer) return {{}, unauthenticated()};
        return identify_operator(services, settings, authorization.substr(kBearer.size()));
    }
    const std::string cookie = cookie_value(request.header("cookie"), kSessionCookie);
    return cookie.empty() ? CallerResult{} : identify_user(services, settings, cookie);
}

std::optional<Problem> authorise(const Caller& caller, Who who, bool unsafe) {
    if (who == Who::anyone || who == Who::visitor) return std::nullopt;
    if (caller.kind == CallerKind::nobody) return unauthenticated();
    if (caller.kind == CallerKind::token) {
        if (who == Who::user) return Problem{403, "operator_not_allowed", "This needs a person who is signed in."};
        const OperatorScope needed = who == Who::token_admin ? OperatorScope::admin
                                     : unsafe                ? OperatorScope::write
                                                             : OperatorScope::read;
        if (caller.scope >= needed) return std::nullopt;
        return Problem{403, "insufficient_scope",
                       "This needs an operator token of scope `" + std::string(scope_name(needed)) + "`."};
    }
    if (who == Who::user || who == Who::member || caller.is_admin) return std::nullopt;
    return Problem{403, "forbidden", "This needs an administrator."};
}

bool same_origin(const HttpRequest& request, const std::string& public_url) {
    const std::string_view site = request.header("sec-fetch-site");
    if (!site.empty()) return site == "same-origin";
    const std::string_view origin = request.header("origin");
    const std::size_t authority = public_url.find("://");
    const std::size_t end = authority == std::string::npos ? std::string::npos : public_url.find('/', authority + 3);
    return !origin.empty() && origin == std::string_view(public_url).substr(0, end);
}

}  // namespace lumen::admind

// What machines ask: alive, ready, metrics.
#include <openssl/crypto.h>

#include "admind/ledger/jobs.h"
#include "admind/people/notice_sender.h"
#include "admind/rest/api_contract.h"
#include "admind/rest/handlers.h"
#include "admind/rest/metrics_page.h"
#include "admind/stores/leader.h"
#include "admind/stores/migrations.h"

namespace lumen::admind {

namespace {

std::string state_of_database(const Services& services) {
    try {
        PgPool::Lease lease = services.postgres.acquire();
        pqxx::work transaction(*lease);
        transaction.exec1("select 1");
        return "ok";
    } catch (const std::exception&) {
        return "unavailable";
    }
}

std::string state_of_redis(const Services& services) {
    try {
        RedisPool::Lease redis = services.redis.acquire();
        redis->command({"PING"});
        return "ok";
    } catch (const std::exception&) {
        return "unavailable";
    }
}

std::string state_of_migrations(const Services& services) {
    try {
        PgPool::Lease lease = services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto missing = schema_state(transaction).missing;
        return missing.empty() ? "ok" : "missing: " + missing.front();
    } catch (const std::exception&) {
        return "unknown";
    }
}

std::string state_of_buckets(const Services& services) {
    if (services.ledger_jobs == nullptr) return "unknown";
    const int not_ready = services.ledger_jobs->metrics().buckets_not_ready;
    return not_ready == 0 ? "ok" : std::to_string(not_ready) + " not ready";
}

/// What the gate answers follows the rules only once a leader has brought them into the book.
std::string state_of_settings(const Services& services) {
    if (services.leader == nullptr || !services.leader->decided()) return "unknown";
    try {
        PgPool::Lease lease = services.postgres.acquire();
        pqxx::nontransaction look(*lease);
        return look.exec1("select settings_term >= term from leadership")[0].as<bool>() ? "ok" : "not applied yet";
    } catch (const std::exception&) {
        return "unknown";
    }
}

std::string state_of_daemon(const Services& services) {
    return services.leaving != nullptr && *services.leaving ? "stopping" : "ok";
}

/// In constant time: the answer's delay must not tell how much of the token was right.
bool same_secret(std::string_view given, std::string_view wanted) {
    return given.size() == wanted.size() && CRYPTO_memcmp(given.data(), wanted.data(), wanted.size()) == 0;
}

}  // namespace

Answer get_healthz(const Call&) {
    return {200, {{"status", "ok"}}};
}

Answer get_readyz(const Call& call) {
    const Json body{{"database", state_of_database(call.services)},     {"redis", state_of_redis(call.services)},
                    {"migrations", state_of_migrations(call.services)}, {"buckets", state_of_buckets(call.services)},
                    {"settings", state_of_settings(call.services)},     {"daemon", state_of_daemon(call.services)}};
    bool ready = true;
    for (const auto& [part, state] : body.items()) ready = ready && state == "ok";
    return {ready ? 200 : 503, body};
}

Answer get_openapi(const Call&) {
    static const std::string text = to_text(api_contract());
    Answer answer;
    answer.text = text;
    return answer;
}

Answer get_metrics(const Call& call) {
    const ApiSettings& api = call.settings.api;
    if (!api.prometheus_enabled || api.prometheus_token.empty() || call.services.ledger_jobs == nullptr)
        return not_found();
    constexpr std::string_view kBearer = "Bearer ";
    const std::string_view authorization = call.http.header("authorization");
    const bool bearer = authorization.substr(0, kBearer.size()) == kBearer;
    if (!bearer || !same_secret(authorization.substr(kBearer.size()), api.prometheus_token)) {
        return Problem{401, "unauthenticated", "Send the token of api.prometheus.token."};
    }
    Answer answer;
    answer.text = metrics_text(call.services.ledger_jobs->metrics(), call.services.other_jobs(),
                               call.services.config == nullptr || call.services.config->status().valid,
                               call.services.notices->metrics());
    answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
    return answer;
}

}  // namespace lumen::admind

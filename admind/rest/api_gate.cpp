#include "admind/rest/api_gate.h"

#include <Poco/Logger.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "admind/ledger/bucket_book.h"
#include "admind/people/account_view.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/api_error.h"
#include "lumen_core/caller_identity.h"
#include "lumen_core/limits.h"

namespace lumen::admind {

namespace {

constexpr std::string_view kRoot = "/v1/";
constexpr std::string_view kKeyPath = "/v1/key";
constexpr std::string_view kUsagePath = "/v1/usage/";

/// A call that has ended is in the book a moment later; so long this waits for it, so often it looks. Where the book is
/// further behind it counts as running: it is known, and what it cost is not.
constexpr auto kDrainPatience = std::chrono::seconds(2);
constexpr auto kDrainLook = std::chrono::milliseconds(50);

HttpAnswer json_answer(int status, std::string body) {
    return {status, "application/json", std::move(body), {{"Cache-Control", "no-store"}}};
}

HttpAnswer refusal_answer(Refusal refusal, const RefusalDetails& details = {}) {
    HttpAnswer answer = json_answer(refusal_row(refusal).status, error_body(Dialect::openai, refusal, details));
    if (refusal == Refusal::billing_unavailable) answer.headers.emplace_back("Retry-After", "1");
    return answer;
}

Json number_or_null(std::int64_t value) {
    return value > 0 ? Json(value) : Json(nullptr);
}

/// [{limit, period_seconds}], as the book writes rates.
Json rates_json(const char* text) {
    Json rates = Json::array();
    for (const lumen::Rate& rate : parse_rates_text(text).value_or(Rates{})) {
        if (rate.limit > 0) rates.push_back({{"limit", rate.limit}, {"period_seconds", rate.period_s}});
    }
    return rates;
}

// ---- GET /v1/key ---------------------------------------------------------------------------------------------------

/// Of the key's own cap: what Redis knows is newer than the book.
Json key_budget_json(RedisPool& pool, const CallerIdentity& caller, const pqxx::row& key) {
    if (key["cap"].is_null()) return nullptr;
    const NanoCoins cap(key["cap"].as<std::int64_t>());
    Json budget{{"limit", coins_json(cap)}, {"used", nullptr}, {"remaining", nullptr}, {"resets_at", nullptr}};
    RedisPool::Lease redis = pool.acquire();
    const RedisReply reply = redis->command({"HMGET", api_key_key(caller.account, caller.key), "cu", "ce"});
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) return budget;
    const auto stored = parse_nano(reply_text(reply->element[0]));
    const auto window_end = parse_nano(reply_text(reply->element[1]));
    const std::int64_t end_ms = window_end ? window_end->nano() : 0;
    // A window that has ended is begun anew by the next call.
    const bool over = end_ms > 0 && end_ms <= unix_ms_now();
    const NanoCoins used = over || !stored ? NanoCoins{} : *stored;
    budget["used"] = coins_json(used);
    budget["remaining"] = coins_json(std::max(NanoCoins{}, NanoCoins(cap.nano() - used.nano())));
    budget["resets_at"] = over ? Json(nullptr) : utc_json(end_ms);
    return budget;
}

/// Names of the only models the key may use; null: whatever its account may.
Json models_of(pqxx::transaction_base& transaction, const pqxx::row& key) {
    if (key["models"].is_null()) return nullptr;
    const auto ids = parse_json(key["models"].c_str());
    if (!ids || !ids->is_array()) return nullptr;
    Json names = Json::array();
    for (const auto& row : transaction.exec_params(
             "select name from models where to_jsonb(id) <@ $1::jsonb order by name", to_text(*ids))) {
        names.push_back(row[0].as<std::string>());
    }
    return names;
}

Json account_json(const pqxx::row& key) {
    return {{"type", key["owner"].as<std::string>()},
            {"name", key["owner_name"].is_null() ? Json(nullptr) : Json(key["owner_name"].as<std::string>())}};
}

Json key_json(const Services& services, const CallerIdentity& caller) {
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto rows = transaction.exec_params(
        "select k.name, k.hint, k.cap, k.request_rates, k.token_rates, k.concurrency,"
        " coalesce((extract(epoch from k.expires_at) * 1000)::bigint, 0) expires_ms,"
        " a.owner, a.concurrency account_concurrency, u.name owner_name, to_jsonb(k)->'models' models,"
        " coalesce(t.requests, 0) requests, coalesce(t.tokens_in + t.tokens_out, 0) tokens,"
        " coalesce(t.spent, 0) spent, coalesce((extract(epoch from t.last_used_at) * 1000)::bigint, 0) last_used_ms"
        " from api_keys k join accounts a on a.id = k.account_id left join users u on u.account_id = a.id"
        " left join key_totals t on t.key_id = k.id where k.id = $1 and k.account_id = $2",
        caller.key, caller.account);
    if (rows.empty()) return nullptr;
    const auto& row = rows[0];
    Json use = Json::object();
    put_use(use, row);
    return {{"object", "key"},
            {"name", row["name"].as<std::string>()},
            {"hint", row["hint"].as<std::string>()},
            {"expires_at", utc_json(row["expires_ms"].as<std::int64_t>())},
            {"models", models_of(transaction, row)},
            {"account", account_json(row)},
            {"budget", read_budget_json(services, transaction, *services.settings.current(), caller.account)},
            {"key_budget", key_budget_json(services.redis, caller, row)},
            {"usage", std::move(use)},
            {"rate_limits",
             {{"requests", rates_json(row["request_rates"].c_str())},
              {"tokens", rates_json(row["token_rates"].c_str())},
              {"concurrency", number_or_null(std::max(row["concurrency"].as<std::int64_t>(),
                                                      row["account_concurrency"].as<std::int64_t>()))}}}};
}

// ---- GET /v1/usage/{request_id} ------------------------------------------------------------------------------------

/// What the book has of a call of this key: its usage or reap row, and what was corrected later.
Json settled_json(const Services& services, const CallerIdentity& caller, const std::string& request_id) {
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto rows = transaction.exec_params(
        "select e.cost, e.tokens_in, e.tokens_out, e.tokens_cached, e.tokens_reasoning, e.audio_ms, e.usage_source,"
        " m.name model from ledger_events e left join models m on m.id = e.model_id"
        " where e.request_id = $1::uuid and e.account_id = $2 and e.key_id = $3 and e.kind in (1, 5, 6)"
        " order by e.at, e.bseq",
        request_id, caller.account, caller.key);
    if (rows.empty()) return nullptr;
    std::int64_t nano = 0;
    std::int64_t input = 0;
    std::int64_t output = 0;
    for (const auto& row : rows) {
        nano += row["cost"].as<std::int64_t>();
        input += row["tokens_in"].as<std::int64_t>();
        output += row["tokens_out"].as<std::int64_t>();
    }
    const auto& last = rows[rows.size() - 1];
    const auto source = static_cast<UsageSource>(last["usage_source"].as<int>(0));
    return {{"object", "usage"},
            {"request_id", request_id},
            {"model", last["model"].is_null() ? Json(nullptr) : Json(last["model"].as<std::string>())},
            {"tokens",
             {{"input", input},
              {"output", output},
              {"total", input + output},
              {"cached", last["tokens_cached"].as<std::int64_t>()},
              {"reasoning", last["tokens_reasoning"].as<std::int64_t>()},
              {"audio_ms", last["audio_ms"].as<std::int64_t>()}}},
            {"coins", coins_json(NanoCoins(nano))},
            {"usage_source", usage_source_name(source)},
            {"status", "settled"}};
}

/// How far the book has a bucket's events.
std::int64_t booked_events(const Services& services, Bucket bucket) {
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    return transaction
        .exec_params1("select last_bseq from stream_positions where bucket = $1", static_cast<int>(bucket))[0]
        .as<std::int64_t>();
}

enum class InRedis : std::uint8_t { running, ended, unknown };

struct CallInRedis {
    InRedis state = InRedis::unknown;
    std::int64_t events = 0;  ///< of its bucket so far; of a call that has ended its own is one of them, if it has one
};

/// A call that runs has a hold; of one that ended lately the id alone is kept, and whose it was the book will tell.
CallInRedis look_in_redis(RedisPool& pool, const CallerIdentity& caller, const std::string& request_id) {
    const Bucket bucket = account_bucket(caller.account);
    RedisPool::Lease redis = pool.acquire();
    redis->append({"HGET", bucket_key(bucket, "holds"), request_id});
    redis->append({"SISMEMBER", bucket_key(bucket, "done0"), request_id});
    redis->append({"SISMEMBER", bucket_key(bucket, "done1"), request_id});
    const RedisReply held = redis->next();
    const RedisReply lately = redis->next();
    const RedisReply before = redis->next();
    CallInRedis found;
    if (const auto hold = parse_hold(reply_text(held.get()))) {
        if (hold->account == caller.account && hold->key == caller.key) found.state = InRedis::running;
    } else if (lately->integer == 1 || before->integer == 1) {
        found = {InRedis::ended, position_in_redis(*redis, bucket).last_bseq};
    }
    return found;
}

Json running_json(const std::string& request_id) {
    return {{"object", "usage"}, {"request_id", request_id}, {"model", nullptr},   {"tokens", nullptr},
            {"coins", nullptr},  {"usage_source", nullptr},  {"status", "running"}};
}

Json usage_json(const Services& services, const CallerIdentity& caller, const std::string& request_id) {
    const auto deadline = std::chrono::steady_clock::now() + kDrainPatience;
    std::optional<std::int64_t> own_event;  // is among the bucket's first so many; later ones are others'
    while (true) {
        if (Json settled = settled_json(services, caller, request_id); !settled.is_null()) return settled;
        const CallInRedis call = look_in_redis(services.redis, caller, request_id);
        if (call.state == InRedis::running) return running_json(request_id);
        if (!own_event) own_event = call.events;
        if (call.state == InRedis::unknown || booked_events(services, account_bucket(caller.account)) >= *own_event) {
            // Drained between the two looks; or it cost nothing, or is another key's.
            return settled_json(services, caller, request_id);
        }
        if (std::chrono::steady_clock::now() > deadline) return running_json(request_id);
        std::this_thread::sleep_for(kDrainLook);
    }
}

/// Signed under the secret in force, or under the one before it while that is rotated.
std::optional<CallerIdentity> verified_caller(const AppSettings& app, const HttpRequest& request) {
    const std::string_view header = request.header(kCallerIdentityHeader);
    const std::int64_t now_ms = unix_ms_now();
    auto caller = verify_caller_identity(app.encryption_key, header, request.path, now_ms);
    if (!caller && !app.previous_encryption_key.empty()) {
        caller = verify_caller_identity(app.previous_encryption_key, header, request.path, now_ms);
    }
    return caller;
}

HttpAnswer dispatch(const Services& services, const HttpRequest& request) {
    const std::shared_ptr<const Settings> settings = services.settings.current();
    const auto caller = verified_caller(settings->app, request);
    if (!caller) return refusal_answer(Refusal::missing_key);
    const bool usage = request.path.compare(0, kUsagePath.size(), kUsagePath) == 0;
    if (!usage && request.path != kKeyPath) return refusal_answer(Refusal::unknown_url);
    if (request.method != "GET") {
        HttpAnswer answer = refusal_answer(Refusal::method_not_allowed);
        answer.headers.emplace_back("Allow", "GET, HEAD");
        return answer;
    }
    if (!usage) {
        const Json key = key_json(services, *caller);
        return key.is_null() ? refusal_answer(Refusal::invalid_key) : json_answer(200, to_text(key));
    }
    const std::string request_id = request.path.substr(kUsagePath.size());
    if (!is_request_id(request_id)) return refusal_answer(Refusal::unknown_request);
    const Json call = usage_json(services, *caller, request_id);
    return call.is_null() ? refusal_answer(Refusal::unknown_request) : json_answer(200, to_text(call));
}

HttpAnswer unavailable() {
    RefusalDetails details;
    details.message = "The books can't be read at the moment. Try again in a few seconds.";
    return refusal_answer(Refusal::billing_unavailable, details);
}

void log_failure(const HttpRequest& request, const char* what) {
    Poco::Logger::get("http").error("request failed: request=" + request.id + " path=" + request.path +
                                    " error=" + what);
}

}  // namespace

bool is_gate_path(const std::string& path) noexcept {
    return path.compare(0, kRoot.size(), kRoot) == 0;
}

HttpAnswer answer_gate_request(const Services& services, const HttpRequest& request) noexcept {
    try {
        return dispatch(services, request);
    } catch (const DatabaseUnavailable&) {
        return unavailable();
    } catch (const pqxx::broken_connection&) {
        return unavailable();
    } catch (const RedisUnavailable&) {
        return unavailable();
    } catch (const pqxx::sql_error& problem) {
        log_failure(request, problem.what());
        return gave_way(problem) ? unavailable() : refusal_answer(Refusal::internal_error);
    } catch (const std::exception& problem) {
        log_failure(request, problem.what());
        return refusal_answer(Refusal::internal_error);
    }
}

}  // namespace lumen::admind

// The ledger's rows, statements of accounts, and crediting what is due now.
#include "admind/bounds.h"
#include "admind/ledger/ledger_count.h"
#include "admind/ledger/refill_job.h"
#include "admind/people/account_view.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/request_fields.h"
#include "admind/settings/settings_values.h"

namespace lumen::admind {

namespace {

const char* usage_word(UsageSource source) {
    return usage_source_name(source).data();
}

Json optional_id(std::int64_t id) {
    return id > 0 ? id_json(id) : Json(nullptr);
}
Json optional_text(const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
}

Json entry_json(const LedgerEntry& entry) {
    Json json{{"id", std::to_string(entry.bucket) + "-" + std::to_string(entry.bseq)},
              {"time", utc_text(entry.at_us / 1000)},
              {"account", id_json(entry.account)},
              {"kind", event_kind_name(entry.kind)},
              {"amount", coins_json(entry.delta)},
              {"balance_before", coins_json(NanoCoins(entry.balance_after.nano() - entry.delta.nano()))},
              {"balance_after", coins_json(entry.balance_after)},
              {"request_id", optional_text(entry.request_id)},
              {"actor", optional_text(entry.actor)},
              {"reason", optional_text(entry.reason)}};
    if (entry.kind == EventKind::usage || entry.kind == EventKind::reap || entry.kind == EventKind::correction) {
        json["cost"] = coins_json(entry.cost);
        json["key"] = optional_id(entry.key);
        json["model"] = optional_id(entry.model);
        json["endpoint"] = optional_id(entry.endpoint);
        json["price"] = optional_id(entry.price);
        json["tokens"] = {{"input", entry.usage.input_tokens},
                          {"output", entry.usage.output_tokens},
                          {"cached", entry.usage.cached_tokens},
                          {"reasoning", entry.usage.reasoning_tokens}};
        json["usage_source"] = usage_word(entry.source);
        json["status"] = entry.status;
        json["duration_ms"] = entry.duration_ms;
        json["ttft_ms"] = entry.ttft_ms;
    }
    return json;
}

std::optional<EventKind> kind_of(const std::string& name) {
    for (const EventKind kind : {EventKind::usage, EventKind::refill, EventKind::grant, EventKind::adjust,
                                 EventKind::correction, EventKind::reap}) {
        if (event_kind_name(kind) == name) return kind;
    }
    return std::nullopt;
}

std::string cursor_at(const LedgerEntry& entry) {
    return encode_cursor({{"t", entry.at_us}, {"b", entry.bucket}, {"s", entry.bseq}});
}

std::optional<LedgerCursor> read_cursor(const std::string& text) {
    const auto content = decode_cursor(text);
    if (!content) return std::nullopt;
    for (const char* key : {"t", "b", "s"}) {
        if (!content->contains(key) || !(*content)[key].is_number_integer()) return std::nullopt;
    }
    const auto bucket = (*content)["b"].get<std::int64_t>();
    if (bucket < 0 || bucket >= kBuckets) return std::nullopt;
    return LedgerCursor{(*content)["t"].get<std::int64_t>(), static_cast<Bucket>(bucket),
                        (*content)["s"].get<std::int64_t>()};
}

}  // namespace

Answer get_ledger(const Call& call) {
    LedgerQuery query;
    query.limit = read_limit(call.http);
    if (query.limit == 0) return Problem{400, "invalid_request", "limit must be 1 to 200."};
    const int wanted = query.limit;
    if (const auto account = call.http.query_value("account")) {
        const auto id = parse_id(*account);
        if (!id) return Problem{400, "invalid_request", "account must be an id."};
        query.account = *id;
    }
    if (const auto kind = call.http.query_value("kind")) {
        query.kind = kind_of(*kind);
        if (!query.kind) return Problem{400, "invalid_request", "There is no such kind."};
    }
    if (const auto request = call.http.query_value("request_id")) {
        if (!is_request_id(*request))
            return Problem{400, "invalid_request", "request_id must be a UUID in lower case."};
        query.request_id = *request;
    }
    if (const auto cursor = call.http.query_value("cursor")) {
        query.before = read_cursor(*cursor);
        if (!query.before) return Problem{400, "invalid_cursor", "The cursor is not of this list."};
    }
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const std::vector<LedgerEntry> entries = read_ledger(transaction, query);
    Json data = Json::array();
    for (const LedgerEntry& entry : entries) data.push_back(entry_json(entry));
    Json next;
    if (entries.size() == static_cast<std::size_t>(wanted)) {
        next = cursor_at(entries.back());
    }
    Json page{{"data", std::move(data)}, {"next_cursor", std::move(next)}, {"prev_cursor", nullptr}};
    if (call.http.query_value("count") == "true") page["total"] = count_ledger(transaction, query);
    return {200, std::move(page)};
}

namespace {

/// What is wrong with the request's period, cursor or limit; or null, and they are in `query`.
std::optional<Problem> read_statement_query(const HttpRequest& http, StatementQuery& query) {
    for (const auto& [name, place] : {std::pair{"from", &query.from_ms}, std::pair{"to", &query.to_ms}}) {
        const auto text = http.query_value(name);
        if (!text) continue;
        *place = parse_utc_time(*text);
        if (!*place) {
            return Problem{400, "invalid_request",
                           std::string(name) + " must be a UTC time like 2026-01-31T00:00:00Z."};
        }
    }
    query.limit = read_limit(http, kLargestStatement, kLargestStatement);
    if (query.limit == 0) return Problem{400, "invalid_request", "limit must be 1 to 10000."};
    if (const auto cursor = http.query_value("cursor")) {
        query.after = read_cursor(*cursor);
        if (!query.after) return Problem{400, "invalid_cursor", "The cursor is not of this list."};
    }
    return std::nullopt;
}

}  // namespace

Answer get_statement(const Call& call) {
    const auto account = call.path_id(0);
    if (!account) return not_found();
    StatementQuery query;
    query.account = *account;
    if (auto refused = read_statement_query(call.http, query)) return Answer(std::move(*refused));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::transaction<pqxx::isolation_level::repeatable_read> transaction(*lease);
    if (!read_wallet(transaction, *account)) return not_found();
    const std::vector<LedgerEntry> entries = read_statement(transaction, query);
    Json data = Json::array();
    for (const LedgerEntry& entry : entries) data.push_back(entry_json(entry));
    const bool full = entries.size() == static_cast<std::size_t>(query.limit);
    return {200,
            {{"account", id_json(*account)},
             {"opening", coins_json(balance_at(transaction, *account, query.from_ms.value_or(0)))},
             {"closing", coins_json(balance_at(transaction, *account, query.to_ms))},
             {"data", std::move(data)},
             {"next_cursor", full ? Json(cursor_at(entries.back())) : Json(nullptr)}}};
}

Answer post_refill(const Call& call) {
    const Json body = call.body.is_null() ? Json::object() : call.body;
    RequestFields fields(body);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    // A job of its own looks at every bucket, also at those that this process's job has done for the hour.
    RedisLink redis(call.settings.redis_url, kRedisTimeout);
    const std::int64_t credited = RefillJob(call.services.postgres, redis).run();
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    audit(transaction, call, "refill", "all", {{"accounts", credited}});
    transaction.commit();
    return {200, {{"accounts", credited}}};
}

}  // namespace lumen::admind

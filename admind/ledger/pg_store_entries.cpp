#include <string>

#include "admind/ledger/ledger_count.h"
#include "admind/ledger/pg_store_ledger.h"

namespace lumen::admind {

namespace {

constexpr int kMaxPage = 200;

constexpr const char* kEntryColumns =
    "select (extract(epoch from e.at) * 1000000)::bigint, e.bucket, e.bseq, e.kind, e.account_id, "
    "coalesce(e.key_id, 0), e.delta, e.cost, coalesce(e.balance_after, 0), coalesce(e.seq, 0), "
    "coalesce(e.request_id::text, ''), coalesce(e.opn, 0), coalesce(e.model_id, 0), coalesce(e.endpoint_id, 0), "
    "coalesce(e.price_id, 0), e.tokens_in, e.tokens_out, e.tokens_cached, e.tokens_reasoning, e.audio_ms, "
    "coalesce(e.duration_ms, 0), coalesce(e.ttft_ms, 0), coalesce(e.usage_source, 0), coalesce(e.status, 0), "
    "coalesce(o.actor, ''), coalesce(o.reason, '') "
    "from ledger_events e left join money_ops o on o.account_id = e.account_id and o.opn = e.opn ";

LedgerEntry entry_of(const pqxx::row& row) {
    LedgerEntry entry;
    entry.at_us = row[0].as<std::int64_t>();
    entry.bucket = static_cast<Bucket>(row[1].as<int>());
    entry.bseq = row[2].as<std::int64_t>();
    entry.kind = static_cast<EventKind>(row[3].as<int>());
    entry.account = row[4].as<AccountId>();
    entry.key = row[5].as<KeyId>();
    entry.delta = NanoCoins(row[6].as<std::int64_t>());
    entry.cost = NanoCoins(row[7].as<std::int64_t>());
    entry.balance_after = NanoCoins(row[8].as<std::int64_t>());
    entry.seq = row[9].as<std::int64_t>();
    entry.request_id = row[10].as<std::string>();
    entry.opn = row[11].as<std::int64_t>();
    entry.model = row[12].as<ModelId>();
    entry.endpoint = row[13].as<EndpointId>();
    entry.price = row[14].as<PriceId>();
    entry.usage.input_tokens = row[15].as<std::uint64_t>();
    entry.usage.output_tokens = row[16].as<std::uint64_t>();
    entry.usage.cached_tokens = row[17].as<std::uint64_t>();
    entry.usage.reasoning_tokens = row[18].as<std::uint64_t>();
    entry.usage.audio_ms = row[19].as<std::uint64_t>();
    entry.duration_ms = row[20].as<std::int64_t>();
    entry.ttft_ms = row[21].as<std::int64_t>();
    entry.source = static_cast<UsageSource>(row[22].as<int>());
    entry.status = row[23].as<int>();
    entry.actor = row[24].as<std::string>();
    entry.reason = row[25].as<std::string>();
    return entry;
}

std::string sql_instant(pqxx::transaction_base& transaction, std::int64_t unix_us) {
    return "(timestamptz 'epoch' + " + transaction.quote(unix_us) + " * interval '1 microsecond')";
}

/// The same with a point as row value, in the order of the ledger.
std::string sql_point(pqxx::transaction_base& transaction, const LedgerCursor& point) {
    return "(" + sql_instant(transaction, point.at_us) + ", " + transaction.quote(static_cast<int>(point.bucket)) +
           ", " + transaction.quote(point.bseq) + ")";
}

std::vector<LedgerEntry> read_entries(pqxx::transaction_base& transaction, const std::string& sql) {
    std::vector<LedgerEntry> entries;
    for (const auto& row : transaction.exec(sql)) entries.push_back(entry_of(row));
    return entries;
}

}  // namespace

namespace {

/// Only the conditions asked for are written down, so that each page is one index scan; the values are quoted.
std::string ledger_conditions(pqxx::transaction_base& transaction, const LedgerQuery& query) {
    std::string sql = " where true";
    if (query.account > 0) sql += " and e.account_id = " + transaction.quote(query.account);
    if (!query.request_id.empty()) sql += " and e.request_id = " + transaction.quote(query.request_id);
    if (query.kind) sql += " and e.kind = " + transaction.quote(static_cast<int>(*query.kind));
    if (!query.include_late) sql += " and e.kind <> 7";
    return sql;
}

}  // namespace

std::int64_t count_ledger(pqxx::transaction_base& transaction, const LedgerQuery& query) {
    return transaction.exec1("select count(*) from ledger_events e" + ledger_conditions(transaction, query))[0]
        .as<std::int64_t>();
}

std::vector<LedgerEntry> read_ledger(pqxx::transaction_base& transaction, const LedgerQuery& query) {
    std::string sql = kEntryColumns + ledger_conditions(transaction, query);
    if (query.before) sql += " and (e.at, e.bucket, e.bseq) < " + sql_point(transaction, *query.before);
    const int limit = query.limit < 1 ? 1 : query.limit > kMaxPage ? kMaxPage : query.limit;
    sql += " order by e.at desc, e.bucket desc, e.bseq desc limit " + std::to_string(limit);
    return read_entries(transaction, sql);
}

std::vector<LedgerEntry> read_statement(pqxx::transaction_base& transaction, const StatementQuery& query) {
    std::string sql =
        std::string(kEntryColumns) + "where e.seq is not null and e.account_id = " + transaction.quote(query.account);
    if (query.from_ms) sql += " and e.at >= " + sql_instant(transaction, *query.from_ms * 1000);
    if (query.to_ms) sql += " and e.at < " + sql_instant(transaction, *query.to_ms * 1000);
    if (query.after) sql += " and (e.at, e.bucket, e.bseq) > " + sql_point(transaction, *query.after);
    sql += " order by e.at, e.bucket, e.bseq limit " + transaction.quote(query.limit);
    return read_entries(transaction, sql);
}

NanoCoins balance_at(pqxx::transaction_base& transaction, AccountId account, std::optional<std::int64_t> at_ms) {
    const std::string until = at_ms ? " and at < " + sql_instant(transaction, *at_ms * 1000) : std::string();
    const auto row = transaction.exec1(
        "select coalesce((select balance_after from ledger_events where seq is not null and account_id = " +
        transaction.quote(account) + until +
        " order by at desc, bucket desc, bseq desc limit 1),"
        // Older months may be archived: what they add up to is kept.
        " (select delta from ledger_archived_accounts where account_id = " +
        transaction.quote(account) + "), 0)");
    return NanoCoins(row[0].as<std::int64_t>());
}

}  // namespace lumen::admind

#include "admind/ledger/book_batch.h"

#include <string>
#include <unordered_set>

#include "admind/stores/pg_arrays.h"

namespace lumen::admind {

namespace {

void update_balances(pqxx::transaction_base& transaction, const EventBatch& batch, BookedTotals& booked) {
    const auto& accounts = batch.accounts();
    if (accounts.empty()) return;
    const auto column = [&](std::int64_t AccountSums::*member) {
        return pg_integers(accounts, [member](const auto& entry) { return entry.second.*member; });
    };
    const auto updated = transaction.exec_params(
        "update account_balances b set balance = x.balance, seq = x.last_seq, opn = greatest(b.opn, x.opn), "
        "last_refill_hour = greatest(b.last_refill_hour, x.last_refill_hour), spent = b.spent + x.cost, "
        "requests = b.requests + x.requests, tokens_in = b.tokens_in + x.tokens_in, "
        "tokens_out = b.tokens_out + x.tokens_out, "
        "last_used_at = greatest(b.last_used_at, to_timestamp(nullif(x.last_used_ms, 0) / 1000.0)) "
        "from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], "
        "$8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[]) "
        "as x (account_id, first_seq, last_seq, delta, balance, opn, last_refill_hour, cost, requests, tokens_in, "
        "tokens_out, last_used_ms) "
        // Named twice, or the whole table is read and joined for the few accounts of a batch.
        "where b.account_id = any($1::bigint[]) "
        "and b.account_id = x.account_id and b.seq = x.first_seq - 1 and b.balance + x.delta = x.balance "
        "returning b.account_id, b.spent, b.tokens_in, b.tokens_out",
        pg_integers(accounts, [](const auto& entry) { return entry.first; }), column(&AccountSums::first_seq),
        column(&AccountSums::last_seq), column(&AccountSums::delta), column(&AccountSums::balance),
        column(&AccountSums::opn), column(&AccountSums::last_refill_hour), column(&AccountSums::cost),
        column(&AccountSums::requests), column(&AccountSums::tokens_in), column(&AccountSums::tokens_out),
        column(&AccountSums::last_used_ms));
    const auto fitting = static_cast<std::size_t>(updated.affected_rows());
    if (fitting != accounts.size()) {
        throw LedgerAlarm(
            "balances in the book do not lead to these events: " + std::to_string(accounts.size() - fitting) + " of " +
            std::to_string(accounts.size()) + " accounts, first account=" + std::to_string(accounts.begin()->first));
    }
    booked.accounts.reserve(accounts.size());
    for (const auto& row : updated) {
        const LiveTotals totals{NanoCoins(row[1].as<std::int64_t>()), row[2].as<std::int64_t>(),
                                row[3].as<std::int64_t>()};
        booked.accounts.emplace_back(row[0].as<AccountId>(), totals);
    }
}

/// `source` of usage_quarter.
enum class UsageOrigin : std::int64_t { api = 1, chat = 2 };

/// Hidden keys of the web chat.
using ChatKeys = std::unordered_set<KeyId>;

ChatKeys read_chat_keys(pqxx::transaction_base& transaction, const EventBatch& batch) {
    ChatKeys chat_keys;
    if (batch.keys().empty()) return chat_keys;
    for (const auto& row :
         transaction.exec_params("select id from api_keys where kind = 'chat' and id = any($1::bigint[])",
                                 pg_integers(batch.keys(), [](const auto& entry) { return entry.first; }))) {
        chat_keys.insert(row[0].as<KeyId>());
    }
    return chat_keys;
}

void add_key_totals(pqxx::transaction_base& transaction, const EventBatch& batch, const ChatKeys& chat_keys,
                    BookedTotals& booked) {
    const auto& keys = batch.keys();
    if (keys.empty()) return;
    const auto column = [&](std::int64_t UsageSums::*member) {
        return pg_integers(keys, [member](const auto& entry) { return entry.second.usage.*member; });
    };
    const auto totals = transaction.exec_params(
        "insert into key_totals as t (key_id, account_id, requests, tokens_in, tokens_out, spent, last_used_at) "
        "select key_id, account_id, requests, tokens_in, tokens_out, cost, to_timestamp(last_ms / 1000.0) "
        "from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]) "
        "as x (key_id, account_id, requests, tokens_in, tokens_out, cost, last_ms) "
        "on conflict (key_id) do update set requests = t.requests + excluded.requests, "
        "tokens_in = t.tokens_in + excluded.tokens_in, tokens_out = t.tokens_out + excluded.tokens_out, "
        "spent = t.spent + excluded.spent, last_used_at = greatest(t.last_used_at, excluded.last_used_at) "
        "returning t.key_id, t.account_id, t.requests, t.tokens_in + t.tokens_out, t.spent, "
        "coalesce((extract(epoch from t.last_used_at) * 1000)::bigint, 0)",
        pg_integers(keys, [](const auto& entry) { return entry.first; }),
        pg_integers(keys, [](const auto& entry) { return entry.second.account; }), column(&UsageSums::requests),
        column(&UsageSums::tokens_in), column(&UsageSums::tokens_out), column(&UsageSums::cost),
        column(&UsageSums::last_ms));
    booked.keys.reserve(keys.size());
    for (const auto& row : totals) {
        KeyTotals key;
        key.key = row[0].as<KeyId>();
        if (chat_keys.count(key.key) > 0) continue;
        key.account = row[1].as<AccountId>();
        key.requests = row[2].as<std::int64_t>();
        key.tokens = row[3].as<std::int64_t>();
        key.spent = NanoCoins(row[4].as<std::int64_t>());
        key.last_used_ms = row[5].as<std::int64_t>();
        booked.keys.push_back(key);
    }
}

void add_usage_quarters(pqxx::transaction_base& transaction, const EventBatch& batch, const ChatKeys& chat_keys) {
    const auto& quarters = batch.quarters();
    if (quarters.empty()) return;
    const auto column = [&](std::int64_t UsageSums::*member) {
        return pg_integers(quarters, [member](const auto& entry) { return entry.second.*member; });
    };
    transaction.exec_params(
        "insert into usage_quarter as q (account_id, slot, key_id, model_id, source, endpoint_id, requests, tokens_in, "
        "tokens_out, cost, last_at) "
        "select account_id, to_timestamp(slot), key_id, model_id, source, endpoint_id, requests, tokens_in, "
        "tokens_out, "
        "cost, to_timestamp(last_ms / 1000.0) "
        "from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bigint[], "
        "$7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[]) "
        "as x (account_id, slot, key_id, model_id, source, endpoint_id, requests, tokens_in, tokens_out, cost, "
        "last_ms) "
        "on conflict on constraint usage_quarter_pkey do update set requests = q.requests + excluded.requests, "
        "tokens_in = q.tokens_in + excluded.tokens_in, tokens_out = q.tokens_out + excluded.tokens_out, "
        "cost = q.cost + excluded.cost, last_at = greatest(q.last_at, excluded.last_at)",
        pg_integers(quarters, [](const auto& entry) { return std::get<0>(entry.first); }),
        pg_integers(quarters, [](const auto& entry) { return std::get<1>(entry.first); }),
        pg_integers(quarters, [](const auto& entry) { return std::get<2>(entry.first); }),
        pg_integers(quarters, [](const auto& entry) { return std::get<3>(entry.first); }),
        pg_integers(quarters,
                    [&](const auto& entry) {
                        return static_cast<std::int64_t>(
                            chat_keys.count(std::get<2>(entry.first)) > 0 ? UsageOrigin::chat : UsageOrigin::api);
                    }),
        pg_integers(quarters, [](const auto& entry) { return std::get<4>(entry.first); }), column(&UsageSums::requests),
        column(&UsageSums::tokens_in), column(&UsageSums::tokens_out), column(&UsageSums::cost),
        column(&UsageSums::last_ms));
}

pqxx::stream_to into_events(pqxx::transaction_base& transaction) {
#if PQXX_VERSION_MAJOR >= 7
    return pqxx::stream_to::raw_table(transaction, "ledger_events", transaction.conn().quote_columns(kEventColumns));
#else
    return pqxx::stream_to(transaction, "ledger_events", kEventColumns);
#endif
}

}  // namespace

EventCopy::EventCopy(pqxx::transaction_base& transaction) : stream_(into_events(transaction)) {}

void EventCopy::write(EventBatch& batch) {
    for (std::size_t i = 0; i < batch.rows(); ++i) stream_ << batch.row(i);
    batch.forget_rows();
}

void EventCopy::complete() {
    stream_.complete();
}

BookedTotals book_batch(pqxx::transaction_base& transaction, EventBatch& batch) {
    BookedTotals booked;
    if (batch.rows() > 0) {
        EventCopy copy(transaction);
        copy.write(batch);
        copy.complete();
    }
    update_balances(transaction, batch, booked);
    const ChatKeys chat_keys = read_chat_keys(transaction, batch);
    add_key_totals(transaction, batch, chat_keys, booked);
    add_usage_quarters(transaction, batch, chat_keys);
    booked.crossings = note_crossings(transaction, batch);
    return booked;
}

}  // namespace lumen::admind

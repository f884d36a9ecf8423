#include "admind/people/past_usage.h"

#include <algorithm>

#include "admind/ledger/pg_store_ledger.h"
#include "admind/people/sessions.h"

namespace lumen::admind {

namespace {

constexpr const char* kDeletedKeysName = "(keys deleted before the import)";
constexpr const char* kActor = "import-ncsa";

KeyId find_chat_key(pqxx::transaction_base& transaction, AccountId account) {
    const auto rows =
        transaction.exec_params("select id from api_keys where account_id = $1 and kind = 'chat'", account);
    return rows.empty() ? 0 : rows[0][0].as<KeyId>();
}

KeyId make_chat_key(pqxx::transaction_base& transaction, AccountId account) {
    NewKey key;
    key.account = account;
    key.chat = true;
    return insert_key(transaction, key);
}

/// Its hash is of nothing that anybody could send, and it is revoked besides.
KeyId make_deleted_key(pqxx::transaction_base& transaction, AccountId account) {
    NewKey key;
    key.account = account;
    key.name = kDeletedKeysName;
    const auto random = random_256();
    std::copy(random.begin(), random.end(), key.hash.begin());
    const KeyId id = insert_key(transaction, key);
    mark_key_revoked(transaction, account, id, kActor);
    return id;
}

void add_quarter(pqxx::transaction_base& transaction, AccountId account, KeyId key, const PastRow& row) {
    transaction.exec_params0(
        "insert into usage_quarter (account_id, slot, key_id, model_id, source, endpoint_id, requests, tokens_in,"
        " tokens_out, cost, last_at) values ($1, $2::timestamptz, $3, $4, $5, 0, $6, $7, $8, $9, $10::timestamptz)"
        " on conflict (account_id, slot, key_id, model_id, source, endpoint_id) do update set"
        " requests = usage_quarter.requests + excluded.requests,"
        " tokens_in = usage_quarter.tokens_in + excluded.tokens_in,"
        " tokens_out = usage_quarter.tokens_out + excluded.tokens_out,"
        " cost = usage_quarter.cost + excluded.cost, last_at = greatest(usage_quarter.last_at, excluded.last_at)",
        account, row.slot, key, row.model, row.chat ? 2 : 1, row.sums.requests, row.sums.tokens_in, row.sums.tokens_out,
        row.sums.cost.nano(), row.sums.last_at);
}

/// Beside the drain, which adds to the same row: both are additions under the row's lock.
void add_balance_totals(pqxx::transaction_base& transaction, AccountId account, const PastSums& all) {
    transaction.exec_params0(
        "insert into account_balances (account_id, bucket, spent, requests, tokens_in, tokens_out, last_used_at)"
        " select id, bucket, $2, $3, $4, $5, nullif($6, '')::timestamptz from accounts where id = $1"
        " on conflict (account_id) do update set spent = account_balances.spent + excluded.spent,"
        " requests = account_balances.requests + excluded.requests,"
        " tokens_in = account_balances.tokens_in + excluded.tokens_in,"
        " tokens_out = account_balances.tokens_out + excluded.tokens_out,"
        " last_used_at = greatest(account_balances.last_used_at, excluded.last_used_at)",
        account, all.cost.nano(), all.requests, all.tokens_in, all.tokens_out, all.last_at);
}

/// So that the counters are still the sum of something (I16).
void note_past(pqxx::transaction_base& transaction, AccountId account, const PastSums& all) {
    transaction.exec_params0(
        "insert into past_usage (account_id, cost, tokens_in, tokens_out) values ($1, $2, $3, $4)"
        " on conflict (account_id) do update set cost = past_usage.cost + excluded.cost,"
        " tokens_in = past_usage.tokens_in + excluded.tokens_in,"
        " tokens_out = past_usage.tokens_out + excluded.tokens_out",
        account, all.cost.nano(), all.tokens_in, all.tokens_out);
}

}  // namespace

void PastSums::add(const PastSums& more) {
    requests += more.requests;
    tokens_in += more.tokens_in;
    tokens_out += more.tokens_out;
    cost = NanoCoins(cost.nano() + more.cost.nano());
    last_at = std::max(last_at, more.last_at);  // of one form, so they sort as text
}

bool PastSums::empty() const noexcept {
    return requests == 0 && tokens_in == 0 && tokens_out == 0 && cost == NanoCoins(0);
}

void add_key_totals(pqxx::transaction_base& transaction, AccountId account, KeyId key, const PastSums& sums) {
    transaction.exec_params0(
        "insert into key_totals (key_id, account_id, requests, tokens_in, tokens_out, spent, last_used_at)"
        " values ($1, $2, $3, $4, $5, $6, nullif($7, '')::timestamptz)"
        " on conflict (key_id) do update set requests = key_totals.requests + excluded.requests,"
        " tokens_in = key_totals.tokens_in + excluded.tokens_in,"
        " tokens_out = key_totals.tokens_out + excluded.tokens_out, spent = key_totals.spent + excluded.spent,"
        " last_used_at = greatest(key_totals.last_used_at, excluded.last_used_at)",
        key, account, sums.requests, sums.tokens_in, sums.tokens_out, sums.cost.nano(), sums.last_at);
}

std::vector<KeyId> add_past_usage(pqxx::transaction_base& transaction, AccountId account,
                                  const std::vector<PastRow>& rows, const PastSums& of_keys) {
    std::vector<KeyId> made;
    PastSums all;
    PastSums chat;
    PastSums without_key;
    for (const PastRow& row : rows) {
        all.add(row.sums);
        (row.chat ? chat : without_key).add(row.sums);
    }
    // First, as the drain does: whoever has this row may go on to the other counters.
    add_balance_totals(transaction, account, all);
    KeyId chat_key = find_chat_key(transaction, account);
    for (const PastRow& row : rows) {
        if (row.chat && chat_key == 0) made.push_back(chat_key = make_chat_key(transaction, account));
        add_quarter(transaction, account, row.chat ? chat_key : 0, row);
    }
    if (!chat.empty()) add_key_totals(transaction, account, chat_key, chat);
    // An account is the sum of its keys, deleted ones too (spec/rest.md §7).
    without_key.requests -= of_keys.requests;
    without_key.tokens_in -= of_keys.tokens_in;
    without_key.tokens_out -= of_keys.tokens_out;
    without_key.cost = NanoCoins(without_key.cost.nano() - of_keys.cost.nano());
    if (!without_key.empty()) {
        made.push_back(make_deleted_key(transaction, account));
        add_key_totals(transaction, account, made.back(), without_key);
    }
    note_past(transaction, account, all);
    return made;
}

}  // namespace lumen::admind

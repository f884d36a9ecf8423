#include "admind/ledger/pg_store_ledger.h"

#include <algorithm>

namespace lumen::admind {

namespace {

// libpqxx 6.4 knows no std::optional: absent travels as an empty text that nullif() turns into null.
std::string text_or_empty(std::optional<NanoCoins> amount) {
    return amount ? std::to_string(amount->nano()) : std::string();
}
std::string text_or_empty(std::int64_t id) {
    return id > 0 ? std::to_string(id) : std::string();
}

constexpr const char* kCurrentHour = "floor(extract(epoch from now()) / 3600)::bigint";

/// `row` must have been matched by an UPDATE … WHERE id; otherwise there is no such thing.
[[noreturn]] void no_such(const char* what, std::int64_t id) {
    throw pqxx::unexpected_rows(std::string("no ") + what + " " + std::to_string(id));
}

bool exists(pqxx::transaction_base& transaction, const char* query, std::int64_t id) {
    return !transaction.exec_params(query, id).empty();
}
constexpr const char* kAccountExists = "select 1 from accounts where id = $1";

std::string bytea_text(const KeyHash& hash) {
    return "\\x" + key_hash_hex(hash);
}

KeyHash hash_of(const pqxx::field& field) {
    const pqxx::binarystring bytes(field);
    KeyHash hash{};
    std::copy_n(bytes.data(), std::min(bytes.size(), hash.size()), hash.begin());
    return hash;
}

NanoCoins coins_of(const pqxx::field& field) {
    return NanoCoins(field.as<std::int64_t>(0));
}
std::optional<NanoCoins> optional_coins_of(const pqxx::field& field) {
    if (field.is_null()) return std::nullopt;
    return coins_of(field);
}

constexpr const char* kAccountColumns =
    "select a.id, a.cfg_ver, a.lim, a.rate, a.unlimited, a.mode, a.state, coalesce(a.policy_id, 0), "
    "a.request_rates, a.token_rates, a.concurrency from accounts a ";

BookAccount account_of(const pqxx::row& row) {
    BookAccount account;
    AccountConfig& config = account.config;
    config.account = row[0].as<AccountId>();
    config.version = row[1].as<std::int64_t>();
    config.limit = optional_coins_of(row[2]);
    config.rate = coins_of(row[3]);
    config.unlimited = row[4].as<bool>();
    config.strict = row[5].as<int>() == 1;
    config.active = row[6].as<int>() == 1;
    config.policy = row[7].as<PolicyId>();
    config.limits = limits_of(row[8], row[9], row[10]);
    return account;
}

// The window of a cap that now falls in: the first end after now, or after the first window's begin if that is later.
constexpr const char* kKeyColumns =
    "select k.id, k.account_id, k.ver, k.state, coalesce((extract(epoch from k.expires_at) * 1000)::bigint, 0), "
    "coalesce(k.policy_id, 0), k.request_rates, k.token_rates, k.concurrency, k.cap, "
    "coalesce((extract(epoch from k.cap_len) * 1000)::bigint, 0), "
    "case when k.cap_len is null then 0 else (extract(epoch from k.cap_start) * 1000)::bigint "
    " + (extract(epoch from k.cap_len) * 1000)::bigint "
    " * (1 + greatest(0, floor(extract(epoch from now() - k.cap_start) / extract(epoch from k.cap_len)))::bigint) end, "
    "k.key_hash from api_keys k ";

BookKey key_of(const pqxx::row& row) {
    BookKey key;
    KeyConfig& config = key.config;
    config.key = row[0].as<KeyId>();
    config.account = row[1].as<AccountId>();
    config.version = row[2].as<std::int64_t>();
    config.state = static_cast<KeyState>(row[3].as<int>());
    config.expires_at_ms = row[4].as<std::int64_t>();
    config.policy = row[5].as<PolicyId>();
    config.limits = limits_of(row[6], row[7], row[8]);
    config.cap = optional_coins_of(row[9]);
    config.cap_window_ms = row[10].as<std::int64_t>();
    config.cap_window_end_ms = row[11].as<std::int64_t>();
    if (!row[12].is_null()) key.hash = hash_of(row[12]);
    return key;
}

void bump_version(pqxx::transaction_base& transaction, AccountId account) {
    transaction.exec_params("update accounts set cfg_ver = cfg_ver + 1 where id = $1", account);
}

}  // namespace

Limits limits_of(const pqxx::field& request_rates, const pqxx::field& token_rates, const pqxx::field& concurrency) {
    const auto requests = parse_rates_text(request_rates.as<std::string>());
    const auto tokens = parse_rates_text(token_rates.as<std::string>());
    // A constraint keeps such a text out of the book.
    if (!requests || !tokens) throw std::runtime_error("the book has a rate that is none");
    return {*requests, *tokens, concurrency.as<std::int64_t>()};
}

AccountId insert_account(pqxx::transaction_base& transaction, AccountOwner owner, const AccountSettings& settings) {
    const auto account =
        transaction
            .exec_params1(
                "insert into accounts (owner, lim, rate, unlimited, mode, policy_id, request_rates, "
                "token_rates, concurrency) "
                "values ($1, nullif($2, '')::bigint, $3, $4, $5, nullif($6, '')::bigint, $7, $8, $9) returning id",
                owner == AccountOwner::user ? "user" : "project", text_or_empty(settings.limit), settings.rate.nano(),
                settings.unlimited, settings.strict ? 1 : 0, text_or_empty(settings.policy),
                rates_text(settings.limits.requests), rates_text(settings.limits.tokens),
                settings.limits.concurrency)[0]
            .as<AccountId>();
    transaction.exec_params("insert into account_ops (account_id) values ($1)", account);
    transaction.exec_params(std::string("insert into account_balances (account_id, bucket, last_refill_hour) "
                                        "select id, bucket, ") +
                                kCurrentHour + " from accounts where id = $1",
                            account);
    return account;
}

bool update_account(pqxx::transaction_base& transaction, AccountId account, const AccountSettings& settings) {
    const std::string sql =
        std::string("update accounts a set lim = n.lim, rate = n.rate, unlimited = n.unlimited, mode = n.mode, ") +
        "policy_id = n.policy_id, request_rates = n.request_rates, token_rates = n.token_rates, concurrency = n.conc, "
        "cfg_ver = a.cfg_ver + 1, rate_since_hour = case "
        "when (a.lim, a.rate, a.unlimited) is distinct from (n.lim, n.rate, n.unlimited) then " +
        kCurrentHour +
        " else a.rate_since_hour end "
        "from (select nullif($2, '')::bigint as lim, $3::bigint as rate, $4::boolean as unlimited, "
        "$5::smallint as mode, nullif($6, '')::bigint as policy_id, $7 as request_rates, $8 as token_rates, "
        "$9::bigint as conc) n "
        "where a.id = $1 and (a.lim, a.rate, a.unlimited, a.mode, a.policy_id, a.request_rates, "
        "a.token_rates, a.concurrency) "
        "is distinct from (n.lim, n.rate, n.unlimited, n.mode, n.policy_id, n.request_rates, n.token_rates, n.conc)";
    const auto changed = transaction.exec_params(sql, account, text_or_empty(settings.limit), settings.rate.nano(),
                                                 settings.unlimited, settings.strict ? 1 : 0,
                                                 text_or_empty(settings.policy), rates_text(settings.limits.requests),
                                                 rates_text(settings.limits.tokens), settings.limits.concurrency);
    if (changed.affected_rows() > 0) return true;
    if (!exists(transaction, kAccountExists, account)) no_such("account", account);
    return false;
}

bool set_account_active(pqxx::transaction_base& transaction, AccountId account, bool active) {
    const auto changed = transaction.exec_params(
        "update accounts set state = $2, cfg_ver = cfg_ver + 1 where id = $1 and state <> $2", account, active ? 1 : 2);
    if (changed.affected_rows() > 0) return true;
    if (!exists(transaction, kAccountExists, account)) no_such("account", account);
    return false;
}

bool insert_consent(pqxx::transaction_base& transaction, AccountId account, ModelId model, std::int32_t notice_version,
                    std::optional<std::int64_t> by_user) {
    const auto inserted = transaction.exec_params(
        "insert into consents (account_id, model_id, notice_ver, by_user) values ($1, $2, $3, nullif($4, '')::bigint) "
        "on conflict do nothing",
        account, model, notice_version, by_user ? std::to_string(*by_user) : std::string());
    if (inserted.affected_rows() == 0) return false;
    bump_version(transaction, account);
    return true;
}

KeyId insert_key(pqxx::transaction_base& transaction, const NewKey& key) {
    return transaction
        .exec_params1(
            "insert into api_keys (account_id, kind, name, hint, key_hash, expires_at, policy_id, "
            "request_rates, token_rates, concurrency, cap, cap_len, cap_start, secret_id) "
            "values ($1, $2, $3, $4, nullif($5, '')::bytea, to_timestamp(nullif($6::bigint, 0) / 1000.0), "
            "nullif($7, '')::bigint, $8, $9, $10, nullif($11, '')::bigint, "
            "make_interval(secs => nullif($12::bigint, 0) / 1000.0), "
            "case when $11 <> '' then now() end, nullif($13, '')) returning id",
            key.account, key.chat ? "chat" : "user", key.name, key.hint,
            key.chat ? std::string() : bytea_text(key.hash), key.expires_at_ms, text_or_empty(key.policy),
            rates_text(key.limits.requests), rates_text(key.limits.tokens), key.limits.concurrency,
            text_or_empty(key.cap), key.cap_window_ms, key.secret_id)[0]
        .as<KeyId>();
}

bool mark_key_revoked(pqxx::transaction_base& transaction, AccountId account, KeyId key, std::string_view actor) {
    const auto changed = transaction.exec_params(
        "update api_keys set state = 2, revoked_at = now(), revoked_by = $3, ver = ver + 1 "
        "where id = $2 and account_id = $1 and kind = 'user' and state <> 2",
        account, key, std::string(actor));
    if (changed.affected_rows() > 0) return true;
    // The hidden key of web chat is nobody's to revoke.
    const auto known = transaction.exec_params(
        "select 1 from api_keys where id = $2 and account_id = $1 and kind = 'user'", account, key);
    if (known.empty()) {
        no_such("key", key);
    }
    return false;
}

bool set_key_paused(pqxx::transaction_base& transaction, AccountId account, KeyId key, bool paused) {
    const auto current = transaction.exec_params(
        "select state from api_keys where id = $2 and account_id = $1 for update", account, key);
    if (current.empty()) no_such("key", key);
    if (static_cast<KeyState>(current[0][0].as<int>()) == KeyState::revoked) return false;
    transaction.exec_params("update api_keys set state = $2, ver = ver + 1 where id = $1 and state <> $2", key,
                            static_cast<int>(paused ? KeyState::paused : KeyState::active));
    return true;
}

std::optional<BookAccount> read_account(pqxx::transaction_base& transaction, AccountId account) {
    const auto rows = transaction.exec_params(std::string(kAccountColumns) + "where a.id = $1", account);
    if (rows.empty()) return std::nullopt;
    BookAccount found = account_of(rows[0]);
    for (const auto& row : transaction.exec_params(
             "select model_id, max(notice_ver) from consents where account_id = $1 group by model_id", account)) {
        found.consents.emplace_back(row[0].as<ModelId>(), row[1].as<std::int32_t>());
    }
    return found;
}

std::optional<BookKey> read_key(pqxx::transaction_base& transaction, KeyId key) {
    const auto rows = transaction.exec_params(std::string(kKeyColumns) + "where k.id = $1", key);
    if (rows.empty()) return std::nullopt;
    return key_of(rows[0]);
}

std::vector<BookAccount> read_accounts(pqxx::transaction_base& transaction, Bucket bucket) {
    std::vector<BookAccount> accounts;
    for (const auto& row : transaction.exec_params(std::string(kAccountColumns) + "where a.bucket = $1 order by a.id",
                                                   static_cast<int>(bucket))) {
        accounts.push_back(account_of(row));
    }
    auto account = accounts.begin();
    for (const auto& row :
         transaction.exec_params("select c.account_id, c.model_id, max(c.notice_ver) from consents c join accounts a "
                                 "on a.id = c.account_id "
                                 "where a.bucket = $1 group by c.account_id, c.model_id order by c.account_id",
                                 static_cast<int>(bucket))) {
        const auto owner = row[0].as<AccountId>();
        while (account != accounts.end() && account->config.account < owner) ++account;
        if (account == accounts.end()) break;
        if (account->config.account != owner) continue;
        account->consents.emplace_back(row[1].as<ModelId>(), row[2].as<std::int32_t>());
    }
    return accounts;
}

std::vector<BookKey> read_keys(pqxx::transaction_base& transaction, Bucket bucket) {
    std::vector<BookKey> keys;
    for (const auto& row : transaction.exec_params(
             std::string(kKeyColumns) + "join accounts a on a.id = k.account_id where a.bucket = $1 order by k.id",
             static_cast<int>(bucket))) {
        keys.push_back(key_of(row));
    }
    return keys;
}

std::vector<BookLookup> read_lookups(pqxx::transaction_base& transaction, Bucket lookup_bucket) {
    std::vector<BookLookup> lookups;
    for (const auto& row : transaction.exec_params(
             "select key_hash, account_id, id from api_keys where get_byte(key_hash, 0) = $1 and key_hash is not null",
             static_cast<int>(lookup_bucket))) {
        lookups.push_back({hash_of(row[0]), row[1].as<AccountId>(), row[2].as<KeyId>()});
    }
    return lookups;
}

std::vector<MoneyOp> read_pending_money(pqxx::transaction_base& transaction, AccountId account) {
    std::vector<MoneyOp> pending;
    for (const auto& row : transaction.exec_params(
             "select o.opn, o.kind, o.amount, o.cost, coalesce(o.key_id, 0), coalesce(o.request_id::text, ''), o.note "
             "from money_ops o join account_balances b on b.account_id = o.account_id "
             "where o.account_id = $1 and o.opn > b.opn order by o.opn limit $2",
             account, kMaxPendingMoneyOps)) {
        MoneyOp operation;
        operation.opn = row[0].as<std::int64_t>();
        operation.kind = static_cast<MoneyOpKind>(row[1].as<int>() - 1);
        operation.amount = coins_of(row[2]);
        operation.cost = coins_of(row[3]);
        operation.key = row[4].as<KeyId>();
        operation.request_id = row[5].as<std::string>();
        operation.note = row[6].as<std::string>();
        pending.push_back(std::move(operation));
    }
    return pending;
}

std::vector<AccountId> accounts_with_pending_money(pqxx::transaction_base& transaction) {
    std::vector<AccountId> accounts;
    for (const auto& row : transaction.exec(
             "select o.account_id from account_ops o join account_balances b on b.account_id = o.account_id "
             "where o.next_opn > b.opn + 1 order by o.account_id")) {
        accounts.push_back(row[0].as<AccountId>());
    }
    return accounts;
}

}  // namespace lumen::admind

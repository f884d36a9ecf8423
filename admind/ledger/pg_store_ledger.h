// The book's rows of accounts, keys, money operations and ledger entries. Each function is part of the caller's
// transaction; what it changes is in force at the gates only after LedgerBook::enforce_*.
#pragma once

#include <cstdint>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lumen_core/account_bucket.h"
#include "lumen_core/api_key.h"
#include "lumen_core/ids.h"
#include "lumen_core/ledger_protocol.h"
#include "lumen_core/money.h"
#include "lumen_core/usage.h"

namespace lumen::admind {

// ---- changes

enum class AccountOwner { user, project };

/// What of an account's configuration is decided outside the ledger; ids and versions are the book's business.
struct AccountSettings {
    std::optional<NanoCoins> limit;  ///< absent: no budget; 0: blocked
    NanoCoins rate;                  ///< per hour
    bool unlimited = false;
    bool strict = false;
    PolicyId policy = 0;
    Limits limits;
};

struct NewKey {
    AccountId account = 0;
    bool chat = false;  ///< the account's hidden key for web chat: without a hash
    std::string name;
    std::string hint;
    KeyHash hash{};                  ///< not for chat keys
    std::string secret_id;           ///< of the installation secret that made the hash; empty: the first there was
    std::int64_t expires_at_ms = 0;  ///< 0 = never
    PolicyId policy = 0;
    Limits limits;
    std::optional<NanoCoins> cap;
    std::int64_t cap_window_ms = 0;  ///< 0 = one window for ever
};

/// Of the columns `request_rates`, `token_rates` and `concurrency`.
Limits limits_of(const pqxx::field& request_rates, const pqxx::field& token_rates, const pqxx::field& concurrency);

AccountId insert_account(pqxx::transaction_base& transaction, AccountOwner owner, const AccountSettings& settings);
/// True if anything changed (then ver + 1, and hours due at the old rate stay due). Throws pqxx::unexpected_rows if
/// there is no such account; so do the others.
bool update_account(pqxx::transaction_base& transaction, AccountId account, const AccountSettings& settings);
bool set_account_active(pqxx::transaction_base& transaction, AccountId account, bool active);
/// False: that version was accepted before.
bool insert_consent(pqxx::transaction_base& transaction, AccountId account, ModelId model, std::int32_t notice_version,
                    std::optional<std::int64_t> by_user);
KeyId insert_key(pqxx::transaction_base& transaction, const NewKey& key);
/// False: it is revoked already. Never undone.
bool mark_key_revoked(pqxx::transaction_base& transaction, AccountId account, KeyId key, std::string_view actor);
/// Paused and active are exchanged freely; a revoked key stays so (false).
bool set_key_paused(pqxx::transaction_base& transaction, AccountId account, KeyId key, bool paused);

// ---- configuration as Redis is told it

struct BookAccount {
    AccountConfig config;
    std::vector<std::pair<ModelId, std::int32_t>> consents;  ///< model → newest notice version accepted
};
struct BookKey {
    KeyConfig config;
    std::optional<KeyHash> hash;  ///< none for chat keys
};
struct BookLookup {
    KeyHash hash;
    AccountId account = 0;
    KeyId key = 0;
};
std::optional<BookAccount> read_account(pqxx::transaction_base& transaction, AccountId account);
std::optional<BookKey> read_key(pqxx::transaction_base& transaction, KeyId key);
/// All accounts of a bucket, all keys of these accounts (the revoked ones too), and all keys whose hash falls in it.
std::vector<BookAccount> read_accounts(pqxx::transaction_base& transaction, Bucket bucket);
std::vector<BookKey> read_keys(pqxx::transaction_base& transaction, Bucket bucket);
std::vector<BookLookup> read_lookups(pqxx::transaction_base& transaction, Bucket lookup_bucket);

// ---- money operations and ledger entries

struct MoneyOp {
    std::int64_t opn = 0;
    MoneyOpKind kind = MoneyOpKind::add;
    NanoCoins amount;
    NanoCoins cost;
    KeyId key = 0;
    std::string request_id;
    std::string note;
};
/// At most so many are sent at once; the others follow.
inline constexpr int kMaxPendingMoneyOps = 1000;
/// Recorded and not yet drained, in order.
std::vector<MoneyOp> read_pending_money(pqxx::transaction_base& transaction, AccountId account);
std::vector<AccountId> accounts_with_pending_money(pqxx::transaction_base& transaction);

struct LedgerEntry {
    std::int64_t at_us = 0;  ///< Unix time
    Bucket bucket = 0;
    std::int64_t bseq = 0;
    EventKind kind = EventKind::usage;
    AccountId account = 0;
    KeyId key = 0;  ///< 0, as in the other ids: none
    NanoCoins delta;
    NanoCoins cost;
    NanoCoins balance_after;
    std::int64_t seq = 0;
    std::string request_id;  ///< empty: none
    std::int64_t opn = 0;
    ModelId model = 0;
    EndpointId endpoint = 0;
    PriceId price = 0;
    Usage usage;
    std::int64_t duration_ms = 0;
    std::int64_t ttft_ms = 0;
    UsageSource source = UsageSource::none;
    int status = 0;
    std::string actor;  ///< of a grant or adjust
    std::string reason;
};

/// The place after an entry in the order (at, bucket, bseq); descending lists go on before it.
struct LedgerCursor {
    std::int64_t at_us = 0;
    Bucket bucket = 0;
    std::int64_t bseq = 0;
};

struct LedgerQuery {
    AccountId account = 0;   ///< 0: all
    std::string request_id;  ///< canonical UUID; empty: any
    std::optional<EventKind> kind;
    std::optional<LedgerCursor> before;  ///< newest first from here
    int limit = 50;                      ///< 1…200
    bool include_late = false;           ///< lates move no money; pages do not show them
};
std::vector<LedgerEntry> read_ledger(pqxx::transaction_base& transaction, const LedgerQuery& query);

/// Every change of one balance in [from, to), oldest first.
struct StatementQuery {
    AccountId account = 0;
    std::optional<std::int64_t> from_ms;
    std::optional<std::int64_t> to_ms;
    std::optional<LedgerCursor> after;
    int limit = 0;
};
std::vector<LedgerEntry> read_statement(pqxx::transaction_base& transaction, const StatementQuery& query);
/// What the account had after its last change before `at_ms` (nullopt: after its last change).
NanoCoins balance_at(pqxx::transaction_base& transaction, AccountId account, std::optional<std::int64_t> at_ms);

}  // namespace lumen::admind

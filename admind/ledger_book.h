// Administration of accounts, keys and coins (ledger.md 6.3): first the book, then Redis, and what is in force when.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <pqxx/pqxx>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "admind/pg_pool.h"
#include "admind/redis_link.h"
#include "lumen_core/api_key.h"
#include "lumen_core/ids.h"
#include "lumen_core/ledger_protocol.h"
#include "lumen_core/money.h"

namespace lumen::admind {

/// Does what the book says hold at the gates?
enum class InForce {
    yes,
    not_yet,  ///< Redis is away: recorded, and repeated until it is done. 503 "not yet in force".
};

enum class AccountOwner { user, project };

/// What of an account's configuration is decided outside the ledger; ids and versions are the book's business.
struct AccountSettings {
    std::optional<NanoCoins> limit;  ///< absent: no budget; 0: blocked
    NanoCoins rate;                  ///< per hour
    bool unlimited = false;
    bool strict = false;
    PolicyId policy = 0;
    std::int64_t requests_per_minute = 0;  ///< 0, as in the next two: no limit
    std::int64_t tokens_per_minute = 0;
    std::int64_t concurrency = 0;
};

struct NewKey {
    AccountId account = 0;
    bool chat = false;  ///< the account's hidden key for web chat: without a hash
    std::string name;
    std::string hint;
    KeyHash hash{};                  ///< not for chat keys
    std::int64_t expires_at_ms = 0;  ///< 0 = never
    PolicyId policy = 0;
    std::int64_t requests_per_minute = 0;
    std::int64_t tokens_per_minute = 0;
    std::int64_t concurrency = 0;
    std::optional<NanoCoins> cap;
    std::int64_t cap_window_ms = 0;  ///< 0 = one window for ever
};

// ---- the book's half: part of the caller's transaction. After its COMMIT call LedgerBook::enforce_*.
// ------------------

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

// ---- money
// -----------------------------------------------------------------------------------------------------------

struct MoneyRequest {
    AccountId account = 0;
    MoneyOpKind kind = MoneyOpKind::add;  ///< add: amount is what is granted (may be negative); set: the balance wanted
    NanoCoins amount;
    std::string idem_key;  ///< caller, route and Idempotency-Key; kept for ever: it moves money once (I13)
    std::string actor;
    std::string reason;
};

enum class MoneyResult {
    done,          ///< in force; `before` and `after` are known
    recorded,      ///< in the book, not yet in Redis (it is away, or the bucket is being rebuilt): it will follow
    key_reused,    ///< this idem_key moved other money: 422 idempotency_key_reused
    out_of_range,  ///< would pass ±M: nothing moved, the number is used up
    no_account,
};
struct MoneyOutcome {
    MoneyResult result = MoneyResult::recorded;
    std::int64_t opn = 0;
    NanoCoins before;  ///< with `done`
    NanoCoins after;
};

// ---- reading
// ---------------------------------------------------------------------------------------------------------

struct AccountBalance {
    NanoCoins balance;
    NanoCoins held;  ///< 0 when read from the book
    std::int64_t last_refill_hour = 0;
    bool live = false;  ///< from Redis; else the book's, as old as the drain's lag
};

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

// ---- both halves
// -----------------------------------------------------------------------------------------------------

/// Thread-safe. What could not reach Redis is kept and repeated by repeat_unfinished(); what this process forgets when
/// it dies, the comparison of all versions at the next start finds (ledger.md 6.5 step 3).
class LedgerBook {
 public:
    LedgerBook(PgPool& postgres, RedisPool& redis) : postgres_(postgres), redis_(redis) {}

    /// Bring one account (with its consents) or key from the book to Redis. Versions win, repeats are harmless. Throws
    /// DatabaseUnavailable.
    InForce enforce_account(AccountId account);
    InForce enforce_key(KeyId key);

    /// Revoke: COMMIT, then Redis, then true → 204. `found` is false for a key that is not this account's.
    struct Revocation {
        bool found = false;
        InForce in_force = InForce::not_yet;
    };
    Revocation revoke_key(AccountId account, KeyId key, std::string_view actor);

    /// The book is away: Redis at once, which is safe as revoking absorbs; the caller notes it in the fsynced file.
    InForce revoke_key_in_redis_only(AccountId account, KeyId key);

    /// Grant or reset. Throws DatabaseUnavailable with nothing recorded, or, if the commit's fate is unknown,
    /// pqxx::in_doubt_error: ask again with the same idem_key.
    MoneyOutcome move_money(const MoneyRequest& request);

    /// Sends the account's pending operations to Redis, in order. False: some are still pending.
    bool send_pending_money(AccountId account);

    AccountBalance balance(AccountId account);

    /// What Redis still has to be told, told again; and all pending money operations of the book. Called by a job each
    /// second. Throws what its parts throw; what is left stays for the next call.
    void repeat_unfinished();
    std::size_t unfinished() const;

 private:
    void note_unfinished_account(AccountId account);
    void note_unfinished_key(KeyId key);

    PgPool& postgres_;
    RedisPool& redis_;
    mutable std::mutex mutex_;
    std::set<AccountId> unfinished_accounts_;
    std::set<KeyId> unfinished_keys_;
};

}  // namespace lumen::admind

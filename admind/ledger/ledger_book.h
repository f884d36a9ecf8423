// Administration of accounts, keys and coins (ledger.md 6.3): first the book, then Redis, and what is in force when.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "admind/ledger/pg_store_ledger.h"
#include "admind/ledger/revocation_notes.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/ids.h"
#include "lumen_core/ledger_protocol.h"
#include "lumen_core/money.h"

namespace lumen::admind {

/// Does what the book says hold at the gates?
enum class InForce {
    yes,
    not_yet,  ///< Redis is away: recorded, and repeated until it is done. 503 "not yet in force".
};

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

struct AccountBalance {
    NanoCoins balance;
    NanoCoins held;  ///< 0 when read from the book
    std::int64_t last_refill_hour = 0;
    bool live = false;  ///< from Redis; else the book's, as old as the drain's lag
};

/// Thread-safe. What could not reach Redis is kept and repeated by repeat_unfinished(); what this process forgets when
/// it dies, the comparison of all versions at the next start finds (ledger.md 6.5 step 3).
class LedgerBook {
 public:
    /// `notes_directory`: where revocations are noted while the book is away; empty: they are refused then.
    LedgerBook(PgPool& postgres, RedisPool& redis, const std::string& notes_directory = {});

    /// Bring one account (with its consents) or key from the book to Redis. Versions win, repeats are harmless. Throws
    /// DatabaseUnavailable.
    InForce enforce_account(AccountId account);
    InForce enforce_key(KeyId key);

    /// Revoke: COMMIT, then Redis, then 204. `found` is false for a key that is not this account's. While the book is
    /// away the key is revoked in Redis at once and noted on disk (not_yet); without notes DatabaseUnavailable is
    /// thrown.
    struct Revocation {
        bool found = false;
        InForce in_force = InForce::not_yet;
    };
    Revocation revoke_key(AccountId account, KeyId key, std::string_view actor);

    /// Grant or reset. Throws DatabaseUnavailable with nothing recorded, or, if the commit's fate is unknown,
    /// pqxx::in_doubt_error: ask again with the same idem_key.
    MoneyOutcome move_money(const MoneyRequest& request);

    /// Sends the account's pending operations to Redis, in order. False: some are still pending.
    bool send_pending_money(AccountId account);

    AccountBalance balance(AccountId account);

    /// What Redis still has to be told, told again. Called by a job each second. Throws what its parts throw; what is
    /// left stays for the next call.
    void repeat_unfinished();
    /// Pending operations of all accounts, also those recorded by a process that died since.
    void send_all_pending_money();
    std::size_t unfinished() const;

 private:
    Revocation revoke_without_book(AccountId account, KeyId key);
    void record_notes();
    void note_unfinished_account(AccountId account);
    void note_unfinished_key(KeyId key);
    /// What an operation that Redis has done did.
    struct Effect {
        NanoCoins delta;
        NanoCoins after;
    };
    std::optional<Effect> find_effect(AccountId account, std::int64_t opn);
    std::optional<Effect> effect_in_stream(AccountId account, std::int64_t opn);
    std::optional<Effect> effect_in_book(AccountId account, std::int64_t opn);

    PgPool& postgres_;
    RedisPool& redis_;
    std::optional<RevocationNotes> notes_;
    mutable std::mutex mutex_;
    std::set<AccountId> unfinished_accounts_;
    std::set<KeyId> unfinished_keys_;
};

}  // namespace lumen::admind

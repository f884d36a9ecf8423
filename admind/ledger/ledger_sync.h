// Drains the buckets' event streams into the book, each event exactly once (ledger.md 6.1).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "admind/ledger/event_batch.h"
#include "admind/ledger/ledger_book.h"
#include "admind/ledger/live_updates.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

/// Bounds a transaction: its locks, its memory, and what a crash makes us do again.
inline constexpr std::size_t kMaxEventsPerDrain = 20'000;
inline constexpr std::size_t kTransactionsAtOnce = 2;

struct DrainResult {
    std::size_t events = 0;
    bool woken_for_nothing = false;   ///< events are there, but not this drainer's to book now: wait a little
    bool full = false;                ///< as many as the transactions take: there are probably more
    std::int64_t oldest_at_ms = 0;    ///< of these events; 0 if none
    std::vector<std::string> alarms;  ///< buckets that stand still from now on, and why

    void add(const DrainResult& other);  ///< its events and alarms
};

/// One drainer of a process; not thread-safe. Any number of processes may drain: the lock on a bucket's position
/// decides. One that is behind books two transactions at once, of different buckets: Postgres uses a core for each.
class LedgerSync {
 public:
    LedgerSync(PgPool& postgres, const std::string& redis_url, std::chrono::milliseconds redis_timeout,
               LedgerBook& book, std::size_t most_events = kMaxEventsPerDrain);

    /// Waits up to `wait` for events of any bucket, then books what one transaction takes, or two. Throws what Redis
    /// and Postgres throw, also pqxx::in_doubt_error: nothing is lost or doubled, the position in the book says where
    /// to go on.
    DrainResult drain(std::chrono::milliseconds wait);

    /// Buckets that raised an alarm and have not been drained since; each is tried again every 10 s.
    std::vector<std::string> standing_still() const;

    /// Updates of accounts that were held back (at most 4 a second each) and are due now.
    void publish_live() { live_.publish_due(redis_); }
    bool live_waiting() const noexcept { return live_.waiting(); }

 private:
    struct LockedBucket {
        Bucket bucket = 0;
        std::int64_t last_bseq = 0;
        bool read = false;  ///< its server answered: last_bseq is that of the last event in the batch
    };
    /// What one transaction has done.
    struct Booking {
        std::vector<LockedBucket> buckets;
        std::size_t events = 0;
        std::int64_t oldest_at_ms = 0;
        BookedTotals totals;
        std::vector<AccountId> charged;  ///< their late charges wait to be sent
    };
    void read_positions();
    std::vector<Bucket> wait_for_events(std::chrono::milliseconds wait);
    std::vector<Bucket> wait_by_asking(std::chrono::milliseconds wait);
    std::vector<Bucket> awaited() const;
    std::vector<std::vector<Bucket>> choose(const std::vector<Bucket>& buckets);
    static std::vector<LockedBucket> lock_positions(pqxx::transaction_base& transaction,
                                                    const std::vector<Bucket>& buckets, const ReplicationIds& ids);
    void take_events(RedisLink& redis, pqxx::transaction_base& transaction, std::vector<LockedBucket>& buckets,
                     const ReplicationIds& ids, EventBatch& batch) const;
    Booking book_events(RedisLink& redis, const std::vector<Bucket>& buckets) const;
    DrainResult note(const Booking& booking);
    DrainResult book_at_once(const std::vector<std::vector<Bucket>>& turns);
    DrainResult book_each(const std::vector<Bucket>& buckets, const std::string& reason);

    PgPool& postgres_;
    RedisLink redis_;
    RedisLink second_redis_;  ///< of the second transaction
    LedgerBook& book_;
    const std::size_t most_events_;  ///< of one transaction
    LiveUpdates live_;
    bool positions_known_ = false;
    std::array<std::int64_t, kBuckets> position_{};  ///< may lag behind the book; only says from where to listen
    std::array<std::size_t, kBuckets> share_{};      ///< events of a bucket that its next transaction takes
    std::size_t first_choice_ = 0;                   ///< the bucket whose turn it is
    struct StandStill {
        std::chrono::steady_clock::time_point until{};
        std::string reason;
    };
    std::map<Bucket, StandStill> stands_still_;
};

}  // namespace lumen::admind

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

struct DrainResult {
    std::size_t events = 0;
    bool woken_for_nothing = false;   ///< events are there, but not this drainer's to book now: wait a little
    bool full = false;                ///< as many as one transaction takes: there are probably more
    std::int64_t oldest_at_ms = 0;    ///< of these events; 0 if none
    std::vector<std::string> alarms;  ///< buckets that stand still from now on, and why
};

/// One drainer of a process; not thread-safe. Any number of processes may drain: the lock on a bucket's position
/// decides.
class LedgerSync {
 public:
    LedgerSync(PgPool& postgres, std::string redis_url, std::chrono::milliseconds redis_timeout, LedgerBook& book);

    /// Waits up to `wait` for events of any bucket, then books what one transaction takes. Throws what Redis and
    /// Postgres throw, also pqxx::in_doubt_error: nothing is lost or doubled, the position in the book says where to go
    /// on.
    DrainResult drain(std::chrono::milliseconds wait);

    /// Buckets that raised an alarm and have not been drained since; each is tried again every 10 s.
    std::vector<std::string> standing_still() const;

    /// Updates of accounts that were held back (at most 4 a second each) and are due now.
    void publish_live() { live_.publish_due(redis_); }
    bool live_waiting() const noexcept { return live_.waiting(); }

 private:
    struct BucketEvents {
        Bucket bucket = 0;
        std::int64_t last_bseq = 0;
        RedisReply entries{nullptr, &freeReplyObject};
    };
    void read_positions();
    std::vector<Bucket> wait_for_events(std::chrono::milliseconds wait);
    std::vector<Bucket> wait_by_asking(std::chrono::milliseconds wait);
    std::vector<Bucket> awaited() const;
    std::vector<Bucket> choose(const std::vector<Bucket>& buckets);
    std::vector<BucketEvents> lock_positions(pqxx::transaction_base& transaction, const std::vector<Bucket>& buckets,
                                             const ReplicationIds& ids);
    void read_events(std::vector<BucketEvents>& buckets, const ReplicationIds& ids);
    DrainResult book_events(const std::vector<Bucket>& buckets);
    DrainResult book_each(const std::vector<Bucket>& buckets, const std::string& reason);

    PgPool& postgres_;
    RedisLink redis_;
    LedgerBook& book_;
    LiveUpdates live_;
    bool positions_known_ = false;
    std::array<std::int64_t, kBuckets> position_{};  ///< may lag behind the book; only says from where to listen
    std::array<std::size_t, kBuckets> share_{};      ///< events of a bucket that the next transaction takes
    std::size_t first_choice_ = 0;                   ///< the bucket whose turn it is
    struct StandStill {
        std::chrono::steady_clock::time_point until{};
        std::string reason;
    };
    std::map<Bucket, StandStill> stands_still_;
};

}  // namespace lumen::admind

// Rebuilds one bucket of Redis from the book, after Redis lost a part of it (ledger.md 6.5 step 2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "admind/pg_store_ledger.h"
#include "admind/redis_link.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen::admind {

struct StreamPosition {
    std::int64_t last_bseq = 0;
    std::int64_t epoch = 0;  ///< -1: Redis has none
};

struct BookBalance {
    NanoCoins balance;
    std::int64_t seq = 0;
    std::int64_t opn = 0;
    std::int64_t last_refill_hour = 0;
    std::int64_t last_recorded_opn = 0;  ///< the book's newest money operation, drained or not
    bool refilled = false;               ///< limited, with a rate
};
using BookBalances = std::map<AccountId, BookBalance>;

/// All that the book knows of a bucket.
struct BucketBook {
    Bucket bucket = 0;
    StreamPosition position;
    std::vector<BookAccount> accounts;
    std::vector<BookKey> keys;
    BookBalances balances;
};

struct RebuildResult {
    bool done = false;  ///< false: another reconciliation of the bucket began meanwhile
    std::size_t holds_kept = 0;
    std::size_t holds_dropped = 0;
    std::size_t foreign_events = 0;  ///< saved to a file of spool_directory, then removed
};

/// Under the lock on the bucket's position, after begin_rebuild(nonce). `redis_position` is what Redis had. Redis then
/// has the book's last_bseq and `next_epoch`; the caller records the epoch. Repeating it from any point is harmless.
RebuildResult rebuild_bucket(pqxx::transaction_base& transaction, RedisLink& redis, const BucketBook& book,
                             const StreamPosition& redis_position, std::int64_t next_epoch, const std::string& nonce,
                             const std::string& spool_directory);

}  // namespace lumen::admind

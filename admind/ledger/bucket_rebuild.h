// Rebuilds one bucket of Redis from the book, after Redis lost a part of it (ledger.md 6.5 step 2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <pqxx/pqxx>
#include <string>

#include "admind/ledger/bucket_book.h"
#include "admind/stores/redis_link.h"

namespace lumen::admind {

struct RebuildResult {
    bool done = false;  ///< false: another reconciliation of the bucket began meanwhile
    std::size_t holds_kept = 0;
    std::size_t holds_dropped = 0;
    std::size_t foreign_events = 0;  ///< saved to a file of spool_directory, then removed
};

/// Under the lock on the bucket's position, after begin_rebuild(nonce). `redis_position` is what Redis had. Redis then
/// has the book's last_bseq and `next_epoch`; the caller records the epoch. Events of another epoch are saved to a file
/// of `spool_directory`. Repeating it from any point is harmless.
RebuildResult rebuild_bucket(pqxx::transaction_base& transaction, RedisLink& redis, const BucketBook& book,
                             const StreamPosition& redis_position, std::int64_t next_epoch, const std::string& nonce,
                             const std::string& spool_directory);

/// Writes all events that the bucket's stream has to a file; how many. 0: none, and no file.
std::size_t save_events(RedisLink& redis, Bucket bucket, const std::string& spool_directory, const std::string& nonce);

}  // namespace lumen::admind

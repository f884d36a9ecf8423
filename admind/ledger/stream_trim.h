// What of the event streams the book has: how much is missing yet, and removing what it has had for long.
#pragma once

#include <chrono>
#include <cstdint>

#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"

namespace lumen::admind {

/// Removes drained events older than `age`. Only what a COMMIT has put into the book goes (ledger.md 6.1): a book that
/// lost its last commits finds the events of `age` still there.
void trim_streams(PgPool& postgres, RedisLink& redis, std::chrono::milliseconds age);

struct Backlog {
    std::int64_t events = 0;        ///< not yet in the book
    std::int64_t oldest_at_ms = 0;  ///< 0: none
};
Backlog measure_backlog(PgPool& postgres, RedisLink& redis);

}  // namespace lumen::admind

// Copies when each key was last used from Redis to the book, for calls that settle nothing (ledger.md 6.4).
#pragma once

#include <cstdint>

#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"

namespace lumen::admind {

/// Once a minute. Only what is newer than in the book is written; returns how many keys that were.
std::int64_t copy_last_used(PgPool& postgres, RedisLink& redis);

}  // namespace lumen::admind

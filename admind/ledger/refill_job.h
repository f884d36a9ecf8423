// Credits every limited account on the full hour (ledger.md 6.4). Each call is idempotent per hour and catches up.
#pragma once

#include <array>
#include <cstdint>

#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

/// Not thread-safe; any number of processes may run one.
class RefillJob {
 public:
    RefillJob(PgPool& postgres, RedisLink& redis) : postgres_(postgres), redis_(redis) {}

    /// Called each second: does nothing but ask Redis the time, unless an hour began that some bucket has not had.
    /// Returns how many accounts got coins. Throws what Redis and Postgres throw; the next call goes on.
    std::int64_t run();

 private:
    /// -1: the bucket is not ready, and must be asked again.
    std::int64_t refill_bucket(Bucket bucket, std::int64_t hour);

    PgPool& postgres_;
    RedisLink& redis_;
    std::array<std::int64_t, kBuckets> done_hour_{};
};

}  // namespace lumen::admind

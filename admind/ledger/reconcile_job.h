// Compares Redis with the book, all the time, a few buckets a second (ledger.md 6.6). Finds drift, never repairs it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen::admind {

struct Drift {
    AccountId account = 0;
    NanoCoins amount;  ///< |Redis − book|, or |held − Σ holds|
    std::string what;
};

/// Same seq in Redis and the book ⇒ same balance (I1); held = Σ holds, and their number (I4). The holds are added up by
/// one script, so nothing moves meanwhile. A bucket that is not ready has no drift: it is about to be rebuilt.
std::vector<Drift> reconcile_bucket(PgPool& postgres, RedisLink& redis, Bucket bucket);

}  // namespace lumen::admind

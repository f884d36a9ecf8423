// What a person decided about a bucket whose two stores contradict each other: which of them is right
// (`lumen-admind rebuild --from redis|book`, ledger.md 6.5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/money.h"

namespace lumen::admind {

enum class TrustedStore {
    book,   ///< Redis is made to say what the book says; events that the book does not have go to a file
    redis,  ///< the book gets what Redis still knows: its events, and an `adjust` row where those do not explain a
            ///< balance
};

/// Why the bucket cannot be put into service, or drained, without a decision; empty: the stores agree.
std::string find_contradiction(PgPool& postgres, RedisLink& redis, Bucket bucket);

struct DecisionOutcome {
    std::string failure;  ///< why nothing was decided; empty: it is, and both stores have it
    /// Why the bucket is not in service although it is decided: another reconciliation, that of a daemon which waited
    /// for this one, or a new master. Whoever looks at all buckets next puts it into service.
    std::string left_to_another;
    std::size_t events_booked = 0;  ///< redis
    std::size_t adjusted = 0;       ///< redis: accounts whose balance its events did not explain
    NanoCoins adjusted_by;          ///< Σ |difference| of these
    std::size_t events_saved = 0;   ///< all that the stream had, in a file of the spool directory
    std::size_t kept_shut =
        0;  ///< keys revoked and accounts deactivated in Redis, and not in the book: they stay so (I9)
};

/// Takes the bucket out of service, makes the stores equal, and puts it back, unless another does that. Repeating it is
/// harmless.
DecisionOutcome decide_bucket(PgPool& postgres, RedisLink& redis, Bucket bucket, TrustedStore trusted,
                              const std::string& spool_directory, const std::string& actor);

}  // namespace lumen::admind

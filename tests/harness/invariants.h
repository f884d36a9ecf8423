// The invariants of ledger.md over both stores, as sentences about what is wrong: every money suite ends with them.
#pragma once

#include <string>
#include <vector>

#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"

namespace lumen::harness {

enum class Running {
    nothing,   ///< no request runs: nothing may be held (I4)
    requests,  ///< holds may exist, but must add up
};

/// I1, I2, I3, I4, I5, I13, I16 and P25. Works whether all is drained or not, but nothing may write meanwhile. Empty:
/// all hold. Buckets that are not ready are checked, too.
std::vector<std::string> check_invariants(admind::PgPool& postgres, admind::RedisLink& redis, Running running);

}  // namespace lumen::harness

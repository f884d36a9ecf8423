// Checks that the Redis server is set up so that money survives it (ledger.md 6.8).
#pragma once

#include <string>
#include <vector>

#include "admind/stores/redis_link.h"

namespace lumen::admind {

/// What is wrong, each as one sentence that says what to set; empty: all is well. At start and each minute.
std::vector<std::string> check_redis_settings(RedisLink& redis);

}  // namespace lumen::admind

// Rates of admind's own requests, counted in Redis for all copies together: signing in, and changing things.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "admind/settings/settings.h"
#include "admind/stores/redis_link.h"

namespace lumen::admind {

/// Counts one more for `who` ("login 192.0.2.1", "write token:3"); 0: within all rates, else seconds until the next
/// window. Throws RedisUnavailable.
std::int64_t seconds_over_rate(RedisLink& redis, const std::string& who, const std::vector<Rate>& rates);

}  // namespace lumen::admind

// `lumen-admind inspect`: what Redis holds of an account, a key, a hold or a bucket, in words and coins. Reads only.
#pragma once

#include <ostream>
#include <string>

#include "admind/stores/redis_link.h"

namespace lumen::admind {

/// `what`: account, key, hold (a request id) or bucket (0 to 255). False: Redis has no such thing.
bool inspect(RedisLink& redis, const std::string& what, const std::string& id, std::ostream& out);

}  // namespace lumen::admind

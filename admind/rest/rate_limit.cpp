#include "admind/rest/rate_limit.h"

#include <algorithm>

#include "admind/text/json.h"

namespace lumen::admind {

std::int64_t seconds_over_rate(RedisLink& redis, const std::string& who, const std::vector<Rate>& rates) {
    const std::int64_t now = unix_ms_now() / 1000;
    std::int64_t wait = 0;
    for (const Rate& rate : rates) {
        const std::int64_t period = rate.period.count();
        const std::string key = "lumen:rate:" + who + ":" + std::to_string(period) + ":" + std::to_string(now / period);
        redis.append({"INCR", key});
        redis.append({"EXPIRE", key, std::to_string(period)});
        const RedisReply count = redis.next();
        redis.next();
        const bool over = count->type == REDIS_REPLY_INTEGER && count->integer > rate.count;
        if (over) wait = std::max(wait, period - now % period);
    }
    return wait;
}

}  // namespace lumen::admind

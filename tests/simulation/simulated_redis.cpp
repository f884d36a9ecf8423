#include "tests/simulation/simulated_redis.h"

#include <algorithm>

namespace lumen::simulation {

void SimulatedRedis::flush_all() {
    model.flush_all();
    epoch = -1;
}

std::string SimulatedRedis::ready_token() const {
    const auto meta = model.meta_hash();
    const auto ready = meta.find("ready");
    return ready == meta.end() ? std::string() : ready->second;
}

std::vector<std::pair<std::int64_t, std::string>> SimulatedRedis::events_after(std::int64_t last_bseq,
                                                                               std::size_t count) const {
    std::vector<std::pair<std::int64_t, std::string>> found;
    const auto& events = model.events();
    for (std::int64_t number = std::max(last_bseq + 1, first_bseq()); number <= bseq() && found.size() < count;
         ++number) {
        found.emplace_back(number, events[static_cast<std::size_t>(number - first_bseq())]);
    }
    return found;
}

}  // namespace lumen::simulation

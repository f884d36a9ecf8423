#include "lumen_core/endpoint_choice.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace lumen {
namespace {

/// Indexes of the candidates that may be picked in one way, with the sum of their weights.
struct Pool {
    std::array<std::uint8_t, kMaxEndpointsPerModel> index{};
    std::size_t size = 0;
    std::uint64_t weight = 0;
};

// The catalogue allows 1…100; the bounds keep the arithmetic here safe whatever comes in.
std::uint64_t weight_of(const EndpointCandidate& candidate) noexcept {
    return std::clamp<std::uint32_t>(candidate.weight, 1, 1000);
}

/// Takes one index out of the pool, each with the odds of its weight. Without that a heavy server among many light ones
/// would rarely be one of the two compared, and stay idle.
std::size_t draw(Pool& pool, const EndpointCandidate* candidates, std::uint32_t random) noexcept {
    std::uint64_t mark = (random * pool.weight) >> 32U;
    std::size_t at = 0;
    while (at + 1 < pool.size && mark >= weight_of(candidates[pool.index[at]])) {
        mark -= weight_of(candidates[pool.index[at]]);
        ++at;
    }
    const std::size_t drawn = pool.index[at];
    pool.index[at] = pool.index[--pool.size];
    pool.weight -= weight_of(candidates[drawn]);
    return drawn;
}

bool is_better(const EndpointCandidate& a, const EndpointCandidate& b, std::int64_t now_ms) noexcept {
    const std::uint64_t load_a = a.in_flight * weight_of(b);
    const std::uint64_t load_b = b.in_flight * weight_of(a);
    if (load_a != load_b) return load_a < load_b;
    // Unknown is 0: it is tried, and then known. So is in time what was measured long ago.
    return believed_latency_us(a.health, now_ms) < believed_latency_us(b.health, now_ms);
}

std::size_t less_loaded_of_two(Pool& ready, const EndpointCandidate* candidates, std::int64_t now_ms,
                               std::uint64_t random) noexcept {
    const std::size_t first = draw(ready, candidates, static_cast<std::uint32_t>(random));
    if (ready.size == 0) return first;
    const std::size_t second = draw(ready, candidates, static_cast<std::uint32_t>(random >> 32U));
    return is_better(candidates[second], candidates[first], now_ms) ? second : first;
}

/// splitmix64: each bit of the input changes half of the output's.
std::uint64_t mixed(std::uint64_t bits) noexcept {
    bits += 0x9E3779B97F4A7C15ULL;
    bits = (bits ^ (bits >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    bits = (bits ^ (bits >> 27U)) * 0x94D049BB133111EBULL;
    return bits ^ (bits >> 31U);
}

/// The larger, the more this key prefers the endpoint. With u uniform in (0, 1) per endpoint, -weight ÷ ln u is largest
/// for an endpoint with the odds of its weight.
double preference(std::uint64_t key, const EndpointCandidate& candidate) noexcept {
    const std::uint64_t bits = mixed(key ^ mixed(candidate.id));
    const double uniform = (static_cast<double>(bits >> 11U) + 0.5) * 0x1p-53;
    return -static_cast<double>(weight_of(candidate)) / std::log(uniform);
}

/// One more in flight there stays within its share of all, this request included, rounded up.
bool has_room(const EndpointCandidate& candidate, std::uint64_t in_flight, std::uint64_t weight) noexcept {
    const std::uint64_t share = (in_flight + 1) * weight_of(candidate) * kAffinityLoadPercent;
    const std::uint64_t room = (share + weight * 100 - 1) / (weight * 100);
    return std::uint64_t{candidate.in_flight} + 1 <= room;
}

/// Of those with room, which are never none, the one this key prefers.
std::size_t preferred(const Pool& ready, const EndpointCandidate* candidates, std::uint64_t key) noexcept {
    std::uint64_t in_flight = 0;
    for (std::size_t i = 0; i < ready.size; ++i) in_flight += candidates[ready.index[i]].in_flight;
    std::size_t best = ready.index[0];
    double best_preference = -1;
    for (std::size_t i = 0; i < ready.size; ++i) {
        const EndpointCandidate& candidate = candidates[ready.index[i]];
        if (!has_room(candidate, in_flight, ready.weight)) continue;
        const double its = preference(key, candidate);
        if (its <= best_preference) continue;
        best = ready.index[i];
        best_preference = its;
    }
    return best;
}

}  // namespace

std::optional<EndpointPick> choose_endpoint(const EndpointCandidate* candidates, std::size_t count, std::int64_t now_ms,
                                            std::uint64_t random, std::optional<std::uint64_t> affinity) noexcept {
    Pool ready;
    std::optional<std::size_t> soonest_free;
    std::optional<std::size_t> soonest_back;
    for (std::size_t i = 0; i < std::min(count, kMaxEndpointsPerModel); ++i) {
        const EndpointCandidate& candidate = candidates[i];
        if (candidate.draining || candidate.tried) continue;
        switch (endpoint_status(candidate.health, now_ms)) {
            case EndpointStatus::ready:
                ready.index[ready.size++] = static_cast<std::uint8_t>(i);
                ready.weight += weight_of(candidate);
                break;
            case EndpointStatus::busy:
                if (!soonest_free || candidate.health.busy_until_ms < candidates[*soonest_free].health.busy_until_ms) {
                    soonest_free = i;
                }
                break;
            case EndpointStatus::trial:
                if (trial_is_due(candidate.health, now_ms)) return EndpointPick{i, true, false};
                [[fallthrough]];
            case EndpointStatus::ejected:
                if (!soonest_back ||
                    candidate.health.ejected_until_ms < candidates[*soonest_back].health.ejected_until_ms) {
                    soonest_back = i;
                }
                break;
        }
    }
    if (ready.size > 0 && affinity) return EndpointPick{preferred(ready, candidates, *affinity), false, false};
    if (ready.size > 0) return EndpointPick{less_loaded_of_two(ready, candidates, now_ms, random), false, false};
    if (soonest_free) return EndpointPick{*soonest_free, false, false};
    if (soonest_back) return EndpointPick{*soonest_back, false, true};
    return std::nullopt;
}

}  // namespace lumen

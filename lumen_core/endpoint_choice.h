// Which endpoint gets the next request: two random healthy candidates, the less loaded wins (design.md §3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "lumen_core/endpoint_health.h"

namespace lumen {

struct EndpointCandidate {
    EndpointHealth health;        ///< a copy, read under the lock
    std::uint32_t in_flight = 0;  ///< over all workers
    std::uint32_t weight = 1;
    bool draining = false;
    bool tried = false;  ///< by this request already
};

struct EndpointPick {
    std::size_t index = 0;
    bool trial = false;  ///< the pick is the trial of an ejected endpoint: call begin_trial
    bool panic = false;  ///< everything was ejected, and the best was taken anyway
};

/// At most this many endpoints a model.
inline constexpr std::size_t kMaxEndpointsPerModel = 64;

/// Order: a due trial is taken by one request; else two random `ready` ones, fewer in flight ÷ weight wins, ties by
/// latency; else the busy one that is free soonest (only if none is ready and none untried is left); else, if all are
/// ejected, the one whose ejection ends first. Draining and tried ones never. nullopt: nothing left.
/// `random` is 64 uniform bits.
std::optional<EndpointPick> choose_endpoint(const EndpointCandidate* candidates, std::size_t count, std::int64_t now_ms,
                                            std::uint64_t random) noexcept;

}  // namespace lumen

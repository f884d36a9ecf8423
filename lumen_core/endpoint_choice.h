// Which endpoint gets the next request: two random healthy candidates, the less loaded wins; or the one that knows the
// conversation, as long as it is not the one that is loaded (design.md §3).
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
    bool tried = false;    ///< by this request already
    std::uint64_t id = 0;  ///< the same for every request and worker; only affinity looks at it
};

struct EndpointPick {
    std::size_t index = 0;
    bool trial = false;  ///< the pick is the trial of an ejected endpoint: call begin_trial
    bool panic = false;  ///< everything was ejected, and the best was taken anyway
};

/// At most this many endpoints a model.
inline constexpr std::size_t kMaxEndpointsPerModel = 64;
/// How far above its fair share of the requests in flight an endpoint may be for the sake of affinity, in percent.
/// Mirrokni et al., "Consistent Hashing with Bounded Loads": 1.25 moves few keys and lets no server be much hotter.
inline constexpr std::uint64_t kAffinityLoadPercent = 125;

/// Order: a due trial is taken by one request; else, with `affinity`, the `ready` one that this key prefers, or the one
/// it prefers next while that one has more than its bounded share of the load; else two random `ready` ones, fewer in
/// flight ÷ weight wins, ties by latency; else the busy one that is free soonest (only if none is ready and none
/// untried is left); else, if all are ejected, the one whose ejection ends first. Draining and tried ones never.
/// nullopt: nothing left. `random` is 64 uniform bits.
///
/// Preference is weighted rendezvous hashing: equal keys agree everywhere without any shared state, weights are
/// followed, and an endpoint that comes or goes moves only the keys that prefer it.
std::optional<EndpointPick> choose_endpoint(const EndpointCandidate* candidates, std::size_t count, std::int64_t now_ms,
                                            std::uint64_t random,
                                            std::optional<std::uint64_t> affinity = std::nullopt) noexcept;

}  // namespace lumen

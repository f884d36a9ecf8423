// Memory shared by all workers: endpoint health and load, and the counters behind /lumen/metrics (T11, T12).
#pragma once

#include <cstdint>

#include "lumen_core/endpoint_health.h"
#include "lumen_core/ids.h"
#include "ngx_lumen_module/ngx.h"

namespace lumen {

inline constexpr std::size_t kMaxEndpoints = 4096;

/// Live state of an endpoint, kept over reloads, keyed by its id. `health` is read and written under `lock`; a worker
/// killed inside leaves a lock that the next one breaks by its owner's pid.
struct EndpointState {
    EndpointId id;
    ngx_atomic_t lock;
    ngx_atomic_t in_flight;
    EndpointHealth health;
};

/// The state of an endpoint, made on first sight. Null: the table is full (the endpoint is then used without memory).
EndpointState* endpoint_state(EndpointId id) noexcept;
EndpointHealth read_health(EndpointState& state) noexcept;
void update_health(EndpointState& state, void (*change)(EndpointHealth&, void*), void* argument) noexcept;

ngx_int_t shared_zone_init(ngx_shm_zone_t* zone, void* previous);

}  // namespace lumen

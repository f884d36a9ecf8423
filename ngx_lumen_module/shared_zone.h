// Memory shared by all workers: endpoint health and load, and the counters behind /lumen/metrics (T11, T12).
#pragma once

#include <cstddef>
#include <cstdint>

#include "lumen_core/endpoint_health.h"
#include "lumen_core/ids.h"
#include "lumen_core/money.h"
#include "ngx_lumen_module/ngx.h"
#include "ngx_lumen_module/ring_file.h"

namespace lumen {

/// Endpoints remembered at most; a smaller zone remembers fewer.
inline constexpr std::size_t kMaxEndpoints = 4096;
/// Workers at once, old ones that are finishing included; a worker's number is the one it has in the ring.
inline constexpr std::size_t kMaxWorkers = kRingOwners;

/// Live state of an endpoint, kept over reloads, keyed by its id. `health` is read and written under `lock`; a worker
/// killed inside leaves a lock that the next one breaks by its owner's pid.
struct EndpointState {
    EndpointId id;
    ngx_atomic_t lock;
    EndpointHealth health;
};

/// The state of an endpoint, made on first sight. Null: the table is full (the endpoint is then used without memory).
EndpointState* endpoint_state(EndpointId id) noexcept;
EndpointHealth read_health(EndpointState& state) noexcept;
void update_health(EndpointState& state, void (*change)(EndpointHealth&, void*), void* argument) noexcept;

/// Requests under way at an endpoint, over all workers. Each worker counts in a row of its own, so a worker that is
/// killed between two instructions leaves a row to clear and never a wrong sum.
std::uint32_t in_flight(const EndpointState& state) noexcept;
/// One more, one fewer on the account of `worker` (its number in the ring).
void count_in_flight(EndpointState& state, std::size_t worker) noexcept;
void uncount_in_flight(EndpointState& state, std::size_t worker) noexcept;
/// Coins held for the requests of one worker, and of all: each counts for itself, as above.
void count_held(std::size_t worker, NanoCoins change) noexcept;
NanoCoins coins_held() noexcept;
/// Clears the row of a worker that died.
void forget_worker(std::size_t worker) noexcept;

/// True for one worker of all, once per `period_ms`: who sends what the host reports only once, and who counts what
/// every worker hears.
enum class HostTask : std::uint8_t { gate_report, probes };
inline constexpr std::size_t kHostTasks = 2;
bool claim_host_task(HostTask task, std::int64_t now_ms, std::int64_t period_ms) noexcept;

/// A block for the counters, zeroed when it is new, the same one for every caller that asks for `bytes`. Null: the zone
/// is full.
void* shared_metrics(std::size_t bytes) noexcept;

ngx_int_t shared_zone_init(ngx_shm_zone_t* zone, void* previous);

}  // namespace lumen

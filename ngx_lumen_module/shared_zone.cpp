#include "ngx_lumen_module/shared_zone.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/settle_ring.h"

namespace lumen {
namespace {

/// Tries of the lock before its owner's life is looked at: longer than any holder needs.
constexpr int kSpinsBeforeOwnerCheck = 4096;

/// Requests that one worker has under way at one endpoint; only that worker writes it.
using InFlightShare = std::uint32_t;

/// What the zone's slab holds first. Addresses are equal in all workers, as they inherit the mapping.
struct ZoneHeader {
    std::size_t capacity;      ///< of `endpoints`; a power of two
    EndpointState* endpoints;  ///< open addressing by id; id 0 is empty; nothing is ever removed
    InFlightShare* shares;     ///< [worker][endpoint]
    ngx_atomic_t rows_used;    ///< rows of `shares` from this on were never written
    void* metrics;
    std::size_t metrics_bytes;
    ngx_atomic_t task_at_ms[kHostTasks];
    std::int64_t held_nano[kMaxWorkers];
};

ZoneHeader* zone_header() noexcept {
    const MainConf* conf = main_conf(const_cast<const ngx_cycle_t*>(ngx_cycle));
    if (conf == nullptr || conf->zone == nullptr) return nullptr;
    return static_cast<ZoneHeader*>(conf->zone->data);
}

std::size_t bytes_for(std::size_t capacity) {
    return capacity * (sizeof(EndpointState) + kMaxWorkers * sizeof(InFlightShare));
}

/// The most endpoints that leave half of the zone for the counters.
std::size_t capacity_for(std::size_t zone_bytes) {
    std::size_t capacity = kMaxEndpoints;
    while (capacity > 1 && bytes_for(capacity) > zone_bytes / 2) capacity /= 2;
    return capacity;
}

std::size_t hash_id(EndpointId id) {
    return static_cast<std::size_t>((static_cast<std::uint64_t>(id) * 0x9E3779B97F4A7C15ULL) >> 32);
}

class HealthLock {
 public:
    explicit HealthLock(ngx_atomic_t& lock) noexcept : lock_(lock) {
        const auto me = static_cast<ngx_atomic_uint_t>(ngx_pid);
        for (;;) {
            for (int i = 0; i < kSpinsBeforeOwnerCheck; ++i) {
                if (ngx_atomic_cmp_set(&lock_, 0, me)) return;
                ngx_cpu_pause();
            }
            const ngx_atomic_uint_t owner = lock_;
            const bool dead = owner != 0 && kill(static_cast<pid_t>(owner), 0) == -1 && errno == ESRCH;
            if (dead && ngx_atomic_cmp_set(&lock_, owner, me)) return;
            ngx_sched_yield();
        }
    }
    HealthLock(const HealthLock&) = delete;
    HealthLock& operator=(const HealthLock&) = delete;
    ~HealthLock() {
        ngx_memory_barrier();
        lock_ = 0;
    }

 private:
    ngx_atomic_t& lock_;
};

InFlightShare* share_of(const EndpointState& state, std::size_t worker) noexcept {
    ZoneHeader* zone = zone_header();
    if (zone == nullptr || worker >= kMaxWorkers) return nullptr;
    const auto index = static_cast<std::size_t>(&state - zone->endpoints);
    return &zone->shares[worker * zone->capacity + index];
}

}  // namespace

EndpointState* endpoint_state(EndpointId id) noexcept {
    ZoneHeader* zone = zone_header();
    if (zone == nullptr || id == 0) return nullptr;
    const std::size_t mask = zone->capacity - 1;
    std::size_t at = hash_id(id) & mask;
    for (std::size_t probes = 0; probes < zone->capacity; ++probes, at = (at + 1) & mask) {
        EndpointState& state = zone->endpoints[at];
        EndpointId found = __atomic_load_n(&state.id, __ATOMIC_ACQUIRE);
        if (found == 0 &&
            __atomic_compare_exchange_n(&state.id, &found, id, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            return &state;
        }
        if (found == id) return &state;
    }
    return nullptr;
}

EndpointHealth read_health(EndpointState& state) noexcept {
    HealthLock lock(state.lock);
    return state.health;
}

void update_health(EndpointState& state, void (*change)(EndpointHealth&, void*), void* argument) noexcept {
    HealthLock lock(state.lock);
    // Changed as a copy and stored at once: a worker killed inside leaves the old value, not half of a new one (T12).
    EndpointHealth changed = state.health;
    change(changed, argument);
    state.health = changed;
}

std::uint32_t in_flight(const EndpointState& state) noexcept {
    const ZoneHeader* zone = zone_header();
    if (zone == nullptr) return 0;
    const auto index = static_cast<std::size_t>(&state - zone->endpoints);
    std::uint32_t sum = 0;
    const ngx_atomic_uint_t rows = zone->rows_used;
    for (std::size_t worker = 0; worker < rows; ++worker) sum += zone->shares[worker * zone->capacity + index];
    return sum;
}

void count_in_flight(EndpointState& state, std::size_t worker) noexcept {
    InFlightShare* share = share_of(state, worker);
    if (share == nullptr) return;
    ngx_atomic_t& rows = zone_header()->rows_used;
    for (ngx_atomic_uint_t seen = rows; seen <= worker; seen = rows) ngx_atomic_cmp_set(&rows, seen, worker + 1);
    ++*share;
}

void uncount_in_flight(EndpointState& state, std::size_t worker) noexcept {
    InFlightShare* share = share_of(state, worker);
    if (share != nullptr && *share > 0) --*share;
}

void count_held(std::size_t worker, NanoCoins change) noexcept {
    ZoneHeader* zone = zone_header();
    if (zone != nullptr && worker < kMaxWorkers) zone->held_nano[worker] += change.nano();
}

NanoCoins coins_held() noexcept {
    const ZoneHeader* zone = zone_header();
    std::int64_t sum = 0;
    for (std::size_t worker = 0; zone != nullptr && worker < kMaxWorkers; ++worker) sum += zone->held_nano[worker];
    return NanoCoins(sum);
}

void forget_worker(std::size_t worker) noexcept {
    ZoneHeader* zone = zone_header();
    if (zone == nullptr || worker >= kMaxWorkers) return;
    std::memset(&zone->shares[worker * zone->capacity], 0, zone->capacity * sizeof(InFlightShare));
    zone->held_nano[worker] = 0;
}

bool claim_host_task(HostTask task, std::int64_t now_ms, std::int64_t period_ms) noexcept {
    ZoneHeader* zone = zone_header();
    if (zone == nullptr) return false;
    ngx_atomic_t& at = zone->task_at_ms[static_cast<std::size_t>(task)];
    const ngx_atomic_uint_t last = at;
    const std::int64_t elapsed = now_ms - static_cast<std::int64_t>(last);
    if (elapsed >= 0 && elapsed < period_ms) return false;  // a clock set back must not silence the task
    return ngx_atomic_cmp_set(&at, last, static_cast<ngx_atomic_uint_t>(now_ms)) != 0;
}

void* shared_metrics(std::size_t bytes) noexcept {
    ZoneHeader* zone = zone_header();
    if (zone == nullptr) return nullptr;
    auto* pool =
        reinterpret_cast<ngx_slab_pool_t*>(main_conf(const_cast<const ngx_cycle_t*>(ngx_cycle))->zone->shm.addr);
    ngx_shmtx_lock(&pool->mutex);
    // Another size is another layout (a new binary over a reload is not possible, T13): start over.
    if (zone->metrics == nullptr || zone->metrics_bytes != bytes) {
        if (zone->metrics != nullptr) ngx_slab_free_locked(pool, zone->metrics);
        zone->metrics = ngx_slab_calloc_locked(pool, bytes);
        zone->metrics_bytes = bytes;
    }
    void* metrics = zone->metrics;
    ngx_shmtx_unlock(&pool->mutex);
    return metrics;
}

ngx_int_t shared_zone_init(ngx_shm_zone_t* zone, void* previous) {
    if (prepare_ring(zone->shm.log) != NGX_OK) return NGX_ERROR;
    auto* pool = reinterpret_cast<ngx_slab_pool_t*>(zone->shm.addr);
    if (previous != nullptr) {
        zone->data = previous;  // the same zone over a reload: endpoint state and counters stay
        return NGX_OK;
    }
    if (zone->shm.exists) {
        zone->data = pool->data;
        return NGX_OK;
    }
    auto* header = static_cast<ZoneHeader*>(ngx_slab_calloc(pool, sizeof(ZoneHeader)));
    if (header == nullptr) return NGX_ERROR;
    header->capacity = capacity_for(zone->shm.size);
    header->endpoints = static_cast<EndpointState*>(ngx_slab_calloc(pool, header->capacity * sizeof(EndpointState)));
    header->shares =
        static_cast<InFlightShare*>(ngx_slab_calloc(pool, header->capacity * kMaxWorkers * sizeof(InFlightShare)));
    if (header->endpoints == nullptr || header->shares == nullptr) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0, "lumen_zone \"%V\" is too small: give it at least 1m",
                      &zone->shm.name);
        return NGX_ERROR;
    }
    pool->data = header;
    zone->data = header;
    return NGX_OK;
}

}  // namespace lumen

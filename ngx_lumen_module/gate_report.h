// What this gate knows of itself and its endpoints: the report `lumen:gate:<id>` that pages and REST read (L21),
// and the same for the status page and the metrics.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lumen_core/catalogue.h"
#include "ngx_lumen_module/ngx.h"
#include "ngx_lumen_module/ring_file.h"

namespace lumen {

inline constexpr ngx_msec_t kGateReportMs = 1'000;
inline constexpr int kGateReportLifeSeconds = 5;

/// An endpoint as all workers of this host see it.
struct EndpointView {
    const CatalogueModel* model = nullptr;
    const CatalogueEndpoint* endpoint = nullptr;
    std::string_view state;      ///< ready, busy, ejected, trial
    std::string reason;          ///< why it is not ready; else empty
    std::int64_t until_ms = 0;   ///< Unix ms; 0: it may get a request now
    std::uint32_t failures = 0;  ///< in a row
    std::uint32_t in_flight = 0;
    std::int64_t latency_us = 0;  ///< to the first byte, a moving average; 0: not known
};
/// Of every endpoint that the zone has room for, in the catalogue's order. Points into it.
std::vector<EndpointView> endpoint_views(const Catalogue& catalogue, std::int64_t now_ms);

/// What all workers have in the ring.
struct RingView {
    std::size_t slots = 0;  ///< 0: this worker has no ring, and refuses priced requests
    RingLoad load;
    std::uint64_t shrunk = 0;  ///< slots that left the replay window before its end
    std::int64_t replay_ms = 0;
};
RingView ring_view() noexcept;

/// `names`: models and endpoints by name as well as by id, for readers who have no catalogue.
enum class ReportNames : std::uint8_t { ids, ids_and_names };
/// The report as JSON; `catalogue` may be null: none has come yet.
std::string gate_report(const Catalogue* catalogue, std::int64_t now_ms, ReportNames names);

/// Begins to write `lumen:gate:<id>` each second, one worker for all of the gate.
void gate_report_init(ngx_cycle_t* cycle);

}  // namespace lumen

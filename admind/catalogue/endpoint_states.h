// How the model servers are, as pages and REST show it: the worst fresh report of any gate, and the last probes.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "admind/stores/redis_link.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

enum class EndpointLife : std::uint8_t { unknown, up, down };

struct EndpointReport {
    EndpointLife life = EndpointLife::unknown;
    std::string state;  ///< a gate's word: ready, busy, ejected, trial; empty if no gate reports
    std::string reason;
    std::int64_t until_ms = 0;
    std::int64_t in_flight = 0;   ///< over all gates
    std::int64_t checked_ms = 0;  ///< of the last probe; 0: never
};

enum class ModelStatus : std::uint8_t { ok, degraded, down, disabled };
std::string_view model_status_name(ModelStatus status) noexcept;

/// P62: ok all healthy, degraded some down, down none healthy (also: no endpoints), disabled off. An endpoint that
/// nobody has reported on yet counts as healthy: nothing is wrong with it as far as is known.
ModelStatus model_status(bool disabled, const std::vector<EndpointId>& endpoints,
                         const std::unordered_map<EndpointId, EndpointReport>& reports);

/// Written by the prober beside what it announces to the gates: the last result of every endpoint.
inline constexpr const char* kProbeResultsKey = "lumen:endpoints";

/// Reads Redis at most once a second for all pages together. Thread-safe.
class EndpointStates {
 public:
    explicit EndpointStates(RedisPool& redis) : redis_(redis) {}
    /// Redis away: what was known last, then nothing.
    std::unordered_map<EndpointId, EndpointReport> reports();

 private:
    RedisPool& redis_;
    std::mutex mutex_;
    std::chrono::steady_clock::time_point read_at_{};
    std::unordered_map<EndpointId, EndpointReport> reports_;
};

/// Of each gate that reports: the names of the installation secrets it knows, the one in force first.
std::map<std::string, std::vector<std::string>> secrets_of_gates(RedisLink& redis);

}  // namespace lumen::admind

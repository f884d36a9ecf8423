// Looks after the model servers: `/health`, or the list of models where there is none; never a generation (L20).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "admind/settings/live_settings.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

inline constexpr std::chrono::seconds kProbeWhileDown{10};

struct ProbeTarget {
    EndpointId id = 0;
    std::string url;         ///< as in lumen.yaml: "http://gpu1:8000/v1"
    std::string credential;  ///< empty: none
};

/// Asks all targets at once; true: it lives. Each within `timeout`, both of its requests together.
std::map<EndpointId, bool> probe_endpoints(const std::vector<ProbeTarget>& targets, std::chrono::milliseconds timeout);

/// "http://gpu1:8000/v1" → "http://gpu1:8000/health": servers have it beside the API, not below it.
std::string health_url(const std::string& url);

/// Only the leader runs one; not thread-safe.
class EndpointProber {
 public:
    EndpointProber(LiveSettings& settings, PgPool& postgres, RedisPool& redis);

    /// Probes what is due (every `health.interval` while up, 10 s while down, both jittered), and announces the
    /// results: those of this round to the gates (lumen:probes, SET and PUBLISH), since a gate counts each as news; the
    /// last of every endpoint for pages (endpoint_states.h). Called each second. Throws what the stores throw.
    void run();

 private:
    struct Known {
        std::chrono::steady_clock::time_point due{};
        bool healthy = true;
        bool probed = false;
        std::int64_t at_ms = 0;  ///< of the last probe
    };
    std::vector<ProbeTarget> due_targets(std::chrono::steady_clock::time_point now);
    std::chrono::milliseconds jittered(std::chrono::milliseconds interval);
    void announce(const std::map<EndpointId, bool>& results);

    LiveSettings& settings_;
    PgPool& postgres_;
    RedisPool& redis_;
    std::map<EndpointId, Known> known_;
    std::minstd_rand random_;
};

}  // namespace lumen::admind

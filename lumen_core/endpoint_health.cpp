#include "lumen_core/endpoint_health.h"

#include <algorithm>

namespace lumen {
namespace {

constexpr std::int64_t kLatencyMemory = 8;  // a new latency counts for 1/8

bool is_ejected(const EndpointHealth& health) noexcept {
    return health.ejected_until_ms > 0;
}

void end_ejection(EndpointHealth& health) noexcept {
    health.failures_in_row = 0;
    health.ejected_until_ms = 0;
    health.trial_until_ms = 0;
}

void eject(EndpointHealth& health, std::int64_t now_ms) noexcept {
    std::int64_t length_ms = kFirstEjectionMs;
    for (std::uint32_t i = 0; i < health.ejections_in_row && length_ms < kLongestEjectionMs; ++i) length_ms *= 2;
    length_ms = std::min(length_ms, kLongestEjectionMs);
    health.ejected_until_ms = now_ms + length_ms;
    health.trial_until_ms = 0;
    if (length_ms < kLongestEjectionMs) ++health.ejections_in_row;
}

/// By how much what was measured has lost its weight: 2 for each half-life.
std::int64_t stale_factor(const EndpointHealth& health, std::int64_t now_ms) noexcept {
    constexpr std::int64_t kMost = 40;  // from there on nothing is left of any latency
    const std::int64_t half_lives = (now_ms - health.latency_at_ms) / kLatencyHalfLifeMs;
    return std::int64_t{1} << std::clamp<std::int64_t>(half_lives, 0, kMost);
}

}  // namespace

EndpointStatus endpoint_status(const EndpointHealth& health, std::int64_t now_ms) noexcept {
    if (is_ejected(health)) return now_ms < health.ejected_until_ms ? EndpointStatus::ejected : EndpointStatus::trial;
    return now_ms < health.busy_until_ms ? EndpointStatus::busy : EndpointStatus::ready;
}

bool trial_is_due(const EndpointHealth& health, std::int64_t now_ms) noexcept {
    return endpoint_status(health, now_ms) == EndpointStatus::trial && health.trial_until_ms <= now_ms;
}

std::string_view endpoint_status_name(EndpointStatus status) noexcept {
    switch (status) {
        case EndpointStatus::ready:
            return "ready";
        case EndpointStatus::busy:
            return "busy";
        case EndpointStatus::ejected:
            return "ejected";
        case EndpointStatus::trial:
            return "trial";
    }
    return "unknown";
}

std::string endpoint_status_reason(const EndpointHealth& health, std::int64_t now_ms) {
    switch (endpoint_status(health, now_ms)) {
        case EndpointStatus::ready:
            return {};
        case EndpointStatus::busy:
            return health.busy_status != 0 ? "status " + std::to_string(health.busy_status) : "busy";
        case EndpointStatus::ejected:
        case EndpointStatus::trial:
            break;
    }
    switch (health.failure) {
        case FailureReason::status:
            return "status " + std::to_string(health.failure_status);
        case FailureReason::timed_out:
            return "timed out";
        case FailureReason::not_connected:
            return "cannot be connected to";
        case FailureReason::connection_lost:
            return "closed the connection";
        case FailureReason::not_http:
            return "does not answer in HTTP";
        case FailureReason::broke_off:
            return "answers broke off";
        case FailureReason::probe:
            return "probe failed";
        case FailureReason::unknown:
            break;
    }
    return "failed";
}

std::int64_t endpoint_status_until_ms(const EndpointHealth& health, std::int64_t now_ms) noexcept {
    switch (endpoint_status(health, now_ms)) {
        case EndpointStatus::busy:
            return health.busy_until_ms;
        case EndpointStatus::ejected:
            return health.ejected_until_ms;
        case EndpointStatus::ready:
        case EndpointStatus::trial:
            break;
    }
    return 0;
}

std::int64_t believed_latency_us(const EndpointHealth& health, std::int64_t now_ms) noexcept {
    return health.latency_ewma_us / stale_factor(health, now_ms);
}

void on_success(EndpointHealth& health, std::int64_t now_ms, std::int64_t first_byte_us) noexcept {
    end_ejection(health);
    health.ejections_in_row = 0;
    if (first_byte_us <= 0) return;
    std::int64_t next_us = first_byte_us;
    if (health.latency_ewma_us != 0) {
        const std::int64_t kept_us = (health.latency_ewma_us - first_byte_us) / stale_factor(health, now_ms);
        next_us += kept_us * (kLatencyMemory - 1) / kLatencyMemory;
    }
    health.latency_ewma_us = std::max<std::int64_t>(next_us, 1);
    health.latency_at_ms = now_ms;
}

void on_busy(EndpointHealth& health, std::int64_t now_ms, std::int64_t retry_after_ms, std::uint16_t status) noexcept {
    // It answered, so it lives: a trial that meets a busy server has found it.
    end_ejection(health);
    const std::int64_t wait_ms = retry_after_ms < 0 ? kDefaultBusyMs : std::min(retry_after_ms, kLongestBusyMs);
    health.busy_until_ms = std::max(health.busy_until_ms, now_ms + wait_ms);
    health.busy_status = status;
}

void on_failure(EndpointHealth& health, std::int64_t now_ms, FailureReason reason, std::uint16_t status) noexcept {
    // Requests that were under way when it was ejected fail too; they are the same event and do not lengthen it.
    if (is_ejected(health) && now_ms < health.ejected_until_ms) return;
    health.failure = reason;
    health.failure_status = status;
    // An ejected one still has its failures, so one more, of its trial, ejects it again.
    if (++health.failures_in_row >= kFailuresToEject) eject(health, now_ms);
}

void on_probe(EndpointHealth& health, std::int64_t now_ms, bool healthy) noexcept {
    if (!healthy) return on_failure(health, now_ms, FailureReason::probe);
    // A probe asks /health, not for work: it ends an ejection, but neither excuses failed requests nor forgets how
    // often they ejected. Only a request that succeeds does.
    if (is_ejected(health)) end_ejection(health);
}

bool begin_trial(EndpointHealth& health, std::int64_t now_ms, std::int64_t trial_lease_ms) noexcept {
    if (!trial_is_due(health, now_ms)) return false;
    health.trial_until_ms = now_ms + trial_lease_ms;
    return true;
}

}  // namespace lumen

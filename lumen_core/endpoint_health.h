// Health of one endpoint as a value: load is not death (design.md §3). Time comes in as an argument.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lumen {

inline constexpr std::uint32_t kFailuresToEject = 3;
inline constexpr std::int64_t kFirstEjectionMs = 5'000;
inline constexpr std::int64_t kLongestEjectionMs = 60'000;
/// What was measured counts half as much after this: a slow endpoint that gets nothing, as others are faster, is tried
/// again the sooner the less slower it is, and a tenth as fast about twice a minute.
inline constexpr std::int64_t kLatencyHalfLifeMs = 10'000;
inline constexpr std::int64_t kDefaultBusyMs = 1'000;   ///< cool-down after 429/503 without Retry-After
inline constexpr std::int64_t kLongestBusyMs = 30'000;  ///< a longer Retry-After is cut to this

/// What the last failure was; people read it beside the state.
enum class FailureReason : std::uint8_t {
    unknown,
    status,  ///< an answer that is a failure
    timed_out,
    not_connected,
    connection_lost,  ///< before the answer's header
    not_http,
    broke_off,  ///< an answer that had begun
    probe,
};

/// Plain data: lives in memory shared by all workers, under the caller's lock. All times are Unix ms.
struct EndpointHealth {
    std::uint32_t failures_in_row = 0;
    std::uint32_t ejections_in_row = 0;
    std::int64_t ejected_until_ms = 0;  ///< > 0: ejected; after that time one trial is let through
    std::int64_t trial_until_ms = 0;    ///< a trial is under way, and is believed lost after this
    std::int64_t busy_until_ms = 0;
    std::int64_t latency_ewma_us = 0;  ///< time to first byte; 0 = not known
    std::int64_t latency_at_ms = 0;    ///< when that was last measured
    FailureReason failure = FailureReason::unknown;
    std::uint16_t failure_status = 0;  ///< of FailureReason::status
    std::uint16_t busy_status = 0;     ///< 429 or 503
};

enum class EndpointStatus : std::uint8_t {
    ready,
    busy,     ///< cooling down after 429 or 503
    ejected,  ///< gets nothing before ejected_until_ms
    trial,    ///< that time is over: one request may try it, or is trying it now
};
EndpointStatus endpoint_status(const EndpointHealth& health, std::int64_t now_ms) noexcept;
/// Status `trial`, and nobody holds the trial.
bool trial_is_due(const EndpointHealth& health, std::int64_t now_ms) noexcept;
std::string_view endpoint_status_name(EndpointStatus status) noexcept;
/// Why it is not ready, for people: "status 500", "timed out", …; empty if it is.
std::string endpoint_status_reason(const EndpointHealth& health, std::int64_t now_ms);
/// Until when it gets nothing: the end of the cool-down, of the ejection; 0 if it may get a request now.
std::int64_t endpoint_status_until_ms(const EndpointHealth& health, std::int64_t now_ms) noexcept;

/// The latency as far as it is still believed: it halves with each kLatencyHalfLifeMs in which nothing is measured.
std::int64_t believed_latency_us(const EndpointHealth& health, std::int64_t now_ms) noexcept;

/// An answer began (any status that is not a failure or busy): ends an ejection and its history.
void on_success(EndpointHealth& health, std::int64_t now_ms, std::int64_t first_byte_us) noexcept;
/// 429 or 503; retry_after_ms < 0: not given. Never ejects.
void on_busy(EndpointHealth& health, std::int64_t now_ms, std::int64_t retry_after_ms,
             std::uint16_t status = 0) noexcept;
/// Refused, reset, time-out, other 5xx, garbage. Of an endpoint whose ejection is not over yet it changes nothing:
/// those are requests that were under way when it was ejected.
void on_failure(EndpointHealth& health, std::int64_t now_ms, FailureReason reason = FailureReason::unknown,
                std::uint16_t status = 0) noexcept;
/// An active probe answered or failed (admind): a good probe ends an ejection, but the next one is still the longer one
/// until a request succeeds; a bad probe counts as a failure.
void on_probe(EndpointHealth& health, std::int64_t now_ms, bool healthy) noexcept;
/// Claims the one trial of an ejected endpoint past its time. False: it is not due any more, as another worker claimed
/// it since the caller looked, or the endpoint is back. `trial_lease_ms` bounds a trial that never reports.
bool begin_trial(EndpointHealth& health, std::int64_t now_ms, std::int64_t trial_lease_ms) noexcept;

}  // namespace lumen

#include "ngx_lumen_module/attempt_outcome.h"

#include "ngx_lumen_module/metrics.h"
#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

struct Observation {
    std::int64_t now_ms;
    std::int64_t value;  ///< time to first byte in µs, or Retry-After in ms
    std::uint16_t status;
    FailureReason why;
};

void succeeded(EndpointHealth& health, void* data) {
    const auto& seen = *static_cast<const Observation*>(data);
    on_success(health, seen.now_ms, seen.value);
}
void was_busy(EndpointHealth& health, void* data) {
    const auto& seen = *static_cast<const Observation*>(data);
    on_busy(health, seen.now_ms, seen.value, seen.status);
}
void failed(EndpointHealth& health, void* data) {
    const auto& seen = *static_cast<const Observation*>(data);
    on_failure(health, seen.now_ms, seen.why, seen.status);
}

AttemptOutcome outcome_of(FailureReason why) noexcept {
    if (why == FailureReason::timed_out) return AttemptOutcome::timed_out;
    return why == FailureReason::not_connected ? AttemptOutcome::connect_failed : AttemptOutcome::failed;
}

}  // namespace

std::int64_t retry_after_ms(const ngx_http_upstream_t& upstream) noexcept {
    constexpr std::string_view kName = "retry-after";
    for (const ngx_list_part_t* part = &upstream.headers_in.headers.part; part != nullptr; part = part->next) {
        const auto* headers = static_cast<const ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; ++i) {
            const ngx_table_elt_t& header = headers[i];
            if (header.key.len != kName.size() || ngx_memcmp(header.lowcase_key, kName.data(), kName.size()) != 0) {
                continue;
            }
            const ngx_int_t seconds = ngx_atoi(header.value.data, header.value.len);
            // on_busy cuts it to its own bound; this one only keeps the product in range.
            return seconds < 0 ? -1 : std::min<std::int64_t>(seconds, 86'400) * 1000;
        }
    }
    return -1;
}

void judge_attempt(Request& request, ngx_uint_t status, FailureReason why) {
    Routing& routing = request.routing;
    if (routing.judged || routing.endpoint == nullptr) return;
    routing.judged = true;
    const bool busy = status == NGX_HTTP_TOO_MANY_REQUESTS || status == NGX_HTTP_SERVICE_UNAVAILABLE;
    const bool failure = status < 200 || status >= 500;
    Observation seen{unix_ms(), monotonic_us() - routing.attempt_began_us, static_cast<std::uint16_t>(status),
                     status != 0 ? FailureReason::status : why};
    void (*change)(EndpointHealth&, void*) = succeeded;
    if (busy) {
        seen.value = retry_after_ms(*request.r->upstream);
        change = was_busy;
        count_attempt(AttemptOutcome::busy);
    } else if (failure) {
        change = failed;
        count_attempt(outcome_of(seen.why));
    } else {
        count_attempt(AttemptOutcome::answered);
    }
    if (EndpointState* state = endpoint_state(routing.endpoint->id)) update_health(*state, change, &seen);
}

}  // namespace lumen

// Counters in the shared zone and the Prometheus page made of them (spec/api.md §5). Never labelled by user or key.
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Adds one finished request to the histograms and counters: tokens, duration, time to first byte, cost, source.
void count_request(const Request& request) noexcept;
void count_refusal(Refusal refusal) noexcept;
enum class AttemptOutcome : std::uint8_t { answered, busy, failed, timed_out, connect_failed };
void count_attempt(AttemptOutcome outcome) noexcept;
enum class InterruptedBy : std::uint8_t { client, upstream, coins };
void count_interrupted(InterruptedBy side) noexcept;

/// Directive `lumen_metrics`: the content handler of the metrics page.
char* metrics_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);

}  // namespace lumen

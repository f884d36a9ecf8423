// What an attempt tells about its endpoint: load is not death (design.md §3).
#pragma once

#include <cstdint>

#include "lumen_core/endpoint_health.h"
#include "ngx_lumen_module/request.h"

namespace lumen {

/// Once per attempt: the endpoint's health learns how it went. `status` 0: no HTTP answer came, and `why` says why.
void judge_attempt(Request& request, ngx_uint_t status, FailureReason why);

/// Retry-After of an answer in ms; -1: none, or not in seconds.
std::int64_t retry_after_ms(const ngx_http_upstream_t& upstream) noexcept;

}  // namespace lumen

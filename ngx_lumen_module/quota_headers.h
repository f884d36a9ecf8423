// Headers that say what is left and when to come back (spec/api.md §3).
#pragma once

#include <string>

#include "ngx_lumen_module/request.h"

namespace lumen {

/// A rate lets a minute's worth through at once (GCRA).
inline constexpr std::int64_t kRateBurstUs = 60'000'000;

enum class RateKind : std::uint8_t { requests, tokens };

/// `retry-after` (whole seconds, up) and `retry-after-ms`.
void add_retry_after(ngx_http_request_t* r, std::int64_t wait_ms);
/// `x-ratelimit-remaining-*` of an admitted request, where limits exist.
void add_rate_limits(ngx_http_request_t* r, const Request& request);
/// The same and `x-ratelimit-reset-*` for a request that came too early.
void add_rate_limited(ngx_http_request_t* r, RateKind kind, std::int64_t wait_us);

/// The full hour whose refill lifts the wallet above zero, or for a wallet that has coins but not enough, to `needed`;
/// ISO 8601 in UTC. Empty: no refill ever will. Refills that are due have been credited (ledger.md §4, test 8).
std::string next_refill_that_helps(const LedgerReply& coins, NanoCoins needed, std::int64_t now_ms);

}  // namespace lumen

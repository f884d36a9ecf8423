// Headers that say what is left and when to come back (spec/api.md §3).
#pragma once

#include <optional>
#include <string>

#include "ngx_lumen_module/request.h"

namespace lumen {

/// `retry-after` (whole seconds, up) and `retry-after-ms`.
void add_retry_after(ngx_http_request_t* r, std::int64_t wait_ms);
/// `x-ratelimit-limit-requests`, `-remaining-`, `-reset-`, and the same for tokens, where there are such rates.
void add_rate_limits(ngx_http_request_t* r, const std::optional<RateStanding>& requests,
                     const std::optional<RateStanding>& tokens);

/// The full hour whose refill lifts the wallet above zero, or for a wallet that has coins but not enough, to `needed`;
/// ISO 8601 in UTC. Empty: no refill ever will. Refills that are due have been credited (ledger.md §4, test 8).
std::string next_refill_that_helps(const LedgerReply& coins, NanoCoins needed, std::int64_t now_ms);

}  // namespace lumen

// How large a hold is: what the request may still cost before it is renewed (design.md §3, ledger.md §4).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// The hold a running request should have now: its cost so far and a window of output beyond it.
NanoCoins hold_from_here(const Request& request) noexcept;
/// What the input alone will cost, by estimate (strict: at most).
NanoCoins expected_input_cost(const Request& request) noexcept;

}  // namespace lumen

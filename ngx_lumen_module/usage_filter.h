// Header and body filters: usage is read while the answer passes, what we asked for is taken out again, refusals of
// endpoints are normalised, cost and balance headers are set (T45…T53, T62).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Answers up to this size are held until their usage is known, so that x-lumen-cost can be a header.
inline constexpr std::size_t kMaxMeteredJsonBytes = 256 * 1024;

ngx_int_t usage_filter_init(ngx_conf_t* cf);

/// Strict mode: output waits because it would cost more than the hold.
bool answer_waits(const Request& request) noexcept;
/// The hold has grown: what waited goes on.
void resume_answer(Request& request);
/// Ends the request now: an error event in a stream that has begun, else the refusal as the answer. Charged is what the
/// client got.
void stop_answer(Request& request, Refusal refusal);

}  // namespace lumen

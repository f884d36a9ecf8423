// W3C trace context: a caller's `traceparent` is passed on as it is, and who sends none gets one.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "lumen_core/ids.h"

namespace lumen {

/// A `traceparent` that others may rely on: version 00 exactly, later versions as far as their first four fields
/// (https://www.w3.org/TR/trace-context/#traceparent-header). What is longer than kMaxTraceparentBytes is not.
inline constexpr std::size_t kMaxTraceparentBytes = 256;
bool is_traceparent(std::string_view text) noexcept;

/// For a request that came without one, or with none that is valid: its request id, whose 128 bits are unique, as the
/// trace id, the id's random half as the span, and not sampled, as nobody asked for that.
std::array<char, 55> make_traceparent(const RequestId& request) noexcept;

}  // namespace lumen

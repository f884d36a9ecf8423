// The ids that travel between the gate, Redis and Postgres.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace lumen {

/// Postgres bigint identities, > 0; 0 = none. One account per user or project.
using AccountId = std::int64_t;
using KeyId = std::int64_t;
using ModelId = std::int64_t;
using EndpointId = std::int64_t;
using PriceId = std::int64_t;
/// Policies are small integers as well; 0 travels as `-` (none, or not known).
using PolicyId = std::int64_t;

/// A UUID in its canonical text form (36 characters, lower case), as in `x-request-id`, the hold, the event and the
/// row.
struct RequestId {
    std::array<char, 36> text;
    std::string_view view() const noexcept { return {text.data(), text.size()}; }
};

/// A UUID in that form, of any version: what a caller sends as one.
bool is_request_id(std::string_view text) noexcept;

/// UUIDv7 (RFC 9562 §5.7) of a time and 10 random bytes: ids of one host sort by time, which keeps indexes small.
RequestId make_request_id(std::int64_t unix_ms, const std::array<std::uint8_t, 10>& random) noexcept;

}  // namespace lumen

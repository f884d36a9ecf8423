// The limits of a scope, which is an account or a key: as configured, as the book writes them, as Redis keeps them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lumen {

/// So many in each period, and all of them at once if nobody came before (GCRA). limit 0: no limit.
struct Rate {
    std::int64_t limit = 0;
    std::int64_t period_s = 0;
};
bool operator==(const Rate& a, const Rate& b) noexcept;

inline constexpr std::size_t kRatesOfAKind = 2;
using Rates = std::array<Rate, kRatesOfAKind>;
/// Of a limit and of a period in seconds: what Redis refuses beyond.
inline constexpr std::int64_t kMostPerRate = 4'000'000'000;

struct Limits {
    Rates requests;
    Rates tokens;
    std::int64_t concurrency = 0;  ///< running requests; 0: any number
};
bool operator==(const Limits& a, const Limits& b) noexcept;
inline bool operator!=(const Limits& a, const Limits& b) noexcept {
    return !(a == b);
}

/// `30/60 1000/86400`: limit and period in seconds; empty: no limit. As the book keeps them.
std::string rates_text(const Rates& rates);
std::optional<Rates> parse_rates_text(std::string_view text) noexcept;

/// What the field `limits` of an account or a key holds (scripts/limits.lua).
struct PackedLimits {
    Limits limits;
    std::array<std::int64_t, kRatesOfAKind> requests_used_up_us{};  ///< GCRA's theoretical arrival times, Unix µs
    std::array<std::int64_t, kRatesOfAKind> tokens_used_up_us{};
};
/// Its bytes: of each rate limit and period in four, the time in seven; of concurrency four.
inline constexpr std::size_t kPackedLimitsBytes = 2 * kRatesOfAKind * (4 + 4 + 7) + 4;
std::optional<PackedLimits> unpack_limits(std::string_view field) noexcept;
/// The same of limits that nobody has used yet; empty for none at all, which have no field.
std::string pack_unused_limits(const Limits& limits);

}  // namespace lumen

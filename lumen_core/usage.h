// Reads token usage out of an answer of a model server (spec/api.md §4).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "lumen_core/money.h"
#include "lumen_core/operation.h"

namespace lumen {

/// Larger counts are not believed (no model makes them), so that no sum of counts can overflow.
inline constexpr std::uint64_t kMaxUsageCount = std::uint64_t{1} << 40;

/// Where the charged numbers come from; the ledger row says so.
enum class UsageSource : std::uint8_t { none = 0, final = 1, continuous = 2, estimated = 3 };
std::string_view usage_source_name(UsageSource source) noexcept;

/// What a usage object said. A count that it lacks, or that is not believed, is 0 here, and has to come from elsewhere:
/// absent is not zero (L15).
struct SaidUsage {
    Usage usage;
    bool lacks_input = false;
    bool lacks_output = false;  ///< never where the dialect counts none
};

/// The usage object of a whole JSON answer. Absent, null, or not an object with at least one valid count: nullopt
/// (absent is not zero, L15). Negative, fractional or non-numeric counts are ignored; counts above kMaxUsageCount too.
/// `body` must be followed by kJsonPadding readable bytes.
/// If there are several, the last valid one. Bodies that are not JSON have none.
std::optional<Usage> usage_of_json_answer(Operation operation, std::string_view body);

/// The same rules for the text of a usage object alone, as an event of a stream carries it. A half that is lacking is
/// what `total_tokens` leaves for it, where both others are there. Allocates nothing.
std::optional<SaidUsage> usage_of_object(Operation operation, std::string_view object) noexcept;

/// The counts of one usage object of Anthropic's dialect, of which events of a stream carry some each. They are totals
/// so far, so the larger of two is the later one; servers that know a count only at the end say 0 before.
struct MessageCounts {
    std::optional<std::uint64_t> input;  ///< what was neither read from a cache nor written to one
    std::optional<std::uint64_t> cache_read;
    std::optional<std::uint64_t> cache_write;
    std::optional<std::uint64_t> output;

    void take(std::string_view usage_object) noexcept;
    /// nullopt while neither input nor output is known.
    std::optional<SaidUsage> usage() const noexcept;
};

/// A length in seconds as JSON has it, a number or a string of one, in ms rounded up; at most a year.
std::optional<std::uint64_t> seconds_as_ms(std::string_view value) noexcept;

/// Estimate for answers whose usage never came: bytes ÷ 4, rounded up, per direction; 0 bytes are 0 tokens.
Usage estimated_usage(std::uint64_t request_bytes, std::uint64_t output_text_bytes) noexcept;

}  // namespace lumen

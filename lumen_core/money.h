// Money: nano-coins, prices, and the one function that turns work into cost (ledger.md §2). Nothing else rounds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lumen {

/// An amount of money; 1 coin = 10^9 nano-coins. Never converts silently to or from an integer.
class NanoCoins {
 public:
    constexpr NanoCoins() noexcept = default;
    constexpr explicit NanoCoins(std::int64_t nano) noexcept : nano_(nano) {}
    constexpr std::int64_t nano() const noexcept { return nano_; }

    friend constexpr bool operator==(NanoCoins a, NanoCoins b) noexcept { return a.nano_ == b.nano_; }
    friend constexpr bool operator!=(NanoCoins a, NanoCoins b) noexcept { return a.nano_ != b.nano_; }
    friend constexpr bool operator<(NanoCoins a, NanoCoins b) noexcept { return a.nano_ < b.nano_; }
    friend constexpr bool operator<=(NanoCoins a, NanoCoins b) noexcept { return a.nano_ <= b.nano_; }
    friend constexpr bool operator>(NanoCoins a, NanoCoins b) noexcept { return a.nano_ > b.nano_; }
    friend constexpr bool operator>=(NanoCoins a, NanoCoins b) noexcept { return a.nano_ >= b.nano_; }

 private:
    std::int64_t nano_ = 0;
};

/// M of ledger.md §1: the largest |balance|, held, limit, rate and amount (4 million coins).
inline constexpr NanoCoins kMaxAmount{4'000'000'000'000'000};

/// What a request used. Counts are totals: cached and cache_write tokens are inside `input_tokens`, reasoning inside
/// `output_tokens` (OpenAI's convention; dialects that count them apart are normalised when they are read).
struct Usage {
    std::uint64_t input_tokens = 0;
    std::uint64_t cached_tokens = 0;
    std::uint64_t cache_write_tokens = 0;
    std::uint64_t output_tokens = 0;
    std::uint64_t reasoning_tokens = 0;
    std::uint64_t audio_ms = 0;
    std::uint64_t images = 0;
    std::uint64_t characters = 0;  ///< of text turned into speech
};

/// Prices of a model, in nano-coins, each 0…M. Absent prices are resolved by the publisher (cached = input, …).
struct Price {
    NanoCoins input_per_million;
    NanoCoins cached_per_million;
    NanoCoins cache_write_per_million;
    NanoCoins output_per_million;
    NanoCoins reasoning_per_million;
    NanoCoins characters_per_million;
    NanoCoins audio_per_hour;
    NanoCoins image;
    NanoCoins request;
};

/// Exact price of `usage`: Σ count × price over the common denominator 36×10⁶ in unsigned __int128, rounded up once to
/// a whole nano-coin. Parts never exceed their whole (cached ≤ input, …: the excess is ignored). Saturates at
/// kMaxAmount. `charge_request_fee` is false for answers that were not 2xx (spec/config.md).
NanoCoins cost(const Price& price, const Usage& usage, bool charge_request_fee) noexcept;

/// "12.45", "-0.000000001", at most 9 decimal places, |value| ≤ 4 000 000; nothing else. From text, never through a
/// float.
std::optional<NanoCoins> parse_coins(std::string_view text) noexcept;
/// Shortest exact decimal: "12.45", "0", "-0.000000001".
std::string format_coins(NanoCoins amount);
/// Always nine decimals: "0.000021450" (for `x-lumen-cost` and the terminal).
std::string format_coins_fixed(NanoCoins amount);
/// The form in which amounts travel to and from Redis: `0` or `-?[1-9][0-9]*`, within int64.
std::optional<NanoCoins> parse_nano(std::string_view text) noexcept;

}  // namespace lumen

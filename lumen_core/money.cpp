#include "lumen_core/money.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace lumen {
namespace {

using Wide = unsigned __int128;

constexpr std::int64_t kNanoPerCoin = 1'000'000'000;
constexpr std::size_t kCoinDecimals = 9;

// All meters over one denominator, so that there is one division, and so one rounding, per request.
constexpr std::uint64_t kDenominator = 36'000'000;
constexpr std::uint64_t kPerToken = kDenominator / 1'000'000;    // prices per million tokens or characters
constexpr std::uint64_t kPerAudioMs = kDenominator / 3'600'000;  // prices per hour
constexpr std::uint64_t kPerPiece = kDenominator;                // prices of an image or a request

constexpr Wide kLargestNumerator = static_cast<Wide>(kMaxAmount.nano()) * kDenominator;

/// count × price × scale, cut at kLargestNumerator: so no product and no sum of the few terms can overflow 128 bits.
Wide term(std::uint64_t count, NanoCoins price, std::uint64_t scale) noexcept {
    if (count == 0 || price <= NanoCoins{0}) return 0;
    Wide product = static_cast<Wide>(price.nano()) * scale;
    const bool overflows = __builtin_mul_overflow(product, static_cast<Wide>(count), &product);
    return overflows ? kLargestNumerator : std::min(product, kLargestNumerator);
}

std::uint64_t magnitude(std::int64_t value) noexcept {
    const auto bits = static_cast<std::uint64_t>(value);
    return value < 0 ? 0 - bits : bits;
}

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

/// The digits at the front of `text`, taken off it.
std::string_view take_digits(std::string_view& text) noexcept {
    std::size_t length = 0;
    while (length < text.size() && is_digit(text[length])) ++length;
    const std::string_view digits = text.substr(0, length);
    text.remove_prefix(length);
    return digits;
}

bool has_needless_zero(std::string_view digits) noexcept {
    return digits.size() > 1 && digits.front() == '0';
}

}  // namespace

NanoCoins cost(const Price& price, const Usage& usage, bool charge_request_fee) noexcept {
    const std::uint64_t cached = std::min(usage.cached_tokens, usage.input_tokens);
    const std::uint64_t cache_write = std::min(usage.cache_write_tokens, usage.input_tokens - cached);
    const std::uint64_t reasoning = std::min(usage.reasoning_tokens, usage.output_tokens);

    Wide sum = 0;
    sum += term(usage.input_tokens - cached - cache_write, price.input_per_million, kPerToken);
    sum += term(cached, price.cached_per_million, kPerToken);
    sum += term(cache_write, price.cache_write_per_million, kPerToken);
    sum += term(usage.output_tokens - reasoning, price.output_per_million, kPerToken);
    sum += term(reasoning, price.reasoning_per_million, kPerToken);
    sum += term(usage.characters, price.characters_per_million, kPerToken);
    sum += term(usage.audio_ms, price.audio_per_hour, kPerAudioMs);
    sum += term(usage.images, price.image, kPerPiece);
    sum += term(charge_request_fee ? 1 : 0, price.request, kPerPiece);

    const Wide nano = (sum + kDenominator - 1) / kDenominator;
    return std::min(NanoCoins{static_cast<std::int64_t>(nano)}, kMaxAmount);
}

std::optional<NanoCoins> parse_coins(std::string_view text) noexcept {
    const bool negative = !text.empty() && text.front() == '-';
    if (negative) text.remove_prefix(1);

    const std::string_view whole = take_digits(text);
    if (whole.empty() || whole.size() > 7 || has_needless_zero(whole)) return std::nullopt;
    std::int64_t nano = 0;
    for (const char c : whole) nano = nano * 10 + (c - '0');
    nano *= kNanoPerCoin;

    if (!text.empty()) {
        if (text.front() != '.') return std::nullopt;
        text.remove_prefix(1);
        const std::string_view decimals = take_digits(text);
        if (decimals.empty() || decimals.size() > kCoinDecimals || !text.empty()) return std::nullopt;
        std::int64_t place = kNanoPerCoin;
        for (const char c : decimals) nano += (c - '0') * (place /= 10);
    }
    if (NanoCoins{nano} > kMaxAmount) return std::nullopt;
    return NanoCoins{negative ? -nano : nano};
}

std::string format_coins_fixed(NanoCoins amount) {
    std::array<char, 1 + 20 + 1 + kCoinDecimals> text;
    char* at = text.data();
    const std::uint64_t nano = magnitude(amount.nano());
    if (amount.nano() < 0) *at++ = '-';
    at = std::to_chars(at, at + 20, nano / kNanoPerCoin).ptr;
    *at++ = '.';
    std::uint64_t decimals = nano % kNanoPerCoin;
    for (std::size_t i = kCoinDecimals; i-- > 0; decimals /= 10) at[i] = static_cast<char>('0' + decimals % 10);
    return {text.data(), at + kCoinDecimals};
}

std::string format_coins(NanoCoins amount) {
    std::string text = format_coins_fixed(amount);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text;
}

std::optional<NanoCoins> parse_nano(std::string_view text) noexcept {
    std::string_view digits = text;
    if (!digits.empty() && digits.front() == '-') digits.remove_prefix(1);
    if (digits.empty() || !is_digit(digits.front()) || has_needless_zero(digits) || text == "-0") return std::nullopt;

    std::int64_t nano = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, nano);
    if (error != std::errc{} || stop != end) return std::nullopt;
    return NanoCoins{nano};
}

}  // namespace lumen

#include "lumen_core/limits.h"

#include <endian.h>

#include <charconv>
#include <cstring>

namespace lumen {
namespace {

/// Reads digits off the front of `text`.
std::optional<std::int64_t> take_number(std::string_view& text) noexcept {
    std::int64_t value = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || value < 1 || value > kMostPerRate) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
    return value;
}

/// Little-endian, as struct.pack of `<` writes it.
template <std::size_t kBytes>
std::int64_t take_packed(std::string_view& bytes) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), kBytes);
    bytes.remove_prefix(kBytes);
    return static_cast<std::int64_t>(le64toh(value));
}

void put_packed(std::string& bytes, std::int64_t number, std::size_t size) {
    auto value = static_cast<std::uint64_t>(number);
    for (std::size_t i = 0; i < size; ++i, value >>= 8U) bytes += static_cast<char>(value & 0xFFU);
}

constexpr std::size_t kNumberBytes = 4;
constexpr std::size_t kTimeBytes = 7;

}  // namespace

bool operator==(const Rate& a, const Rate& b) noexcept {
    return a.limit == b.limit && a.period_s == b.period_s;
}

bool operator==(const Limits& a, const Limits& b) noexcept {
    return a.requests == b.requests && a.tokens == b.tokens && a.concurrency == b.concurrency;
}

std::string rates_text(const Rates& rates) {
    std::string text;
    for (const Rate& rate : rates) {
        if (rate.limit == 0) continue;
        if (!text.empty()) text += ' ';
        text += std::to_string(rate.limit) + '/' + std::to_string(rate.period_s);
    }
    return text;
}

std::optional<Rates> parse_rates_text(std::string_view text) noexcept {
    Rates rates;
    for (std::size_t i = 0; !text.empty(); ++i) {
        if (i == rates.size()) return std::nullopt;
        if (i > 0) {
            if (text.front() != ' ') return std::nullopt;
            text.remove_prefix(1);
        }
        const auto limit = take_number(text);
        if (!limit || text.empty() || text.front() != '/') return std::nullopt;
        text.remove_prefix(1);
        const auto period_s = take_number(text);
        if (!period_s) return std::nullopt;
        rates[i] = {*limit, *period_s};
    }
    return rates;
}

std::optional<PackedLimits> unpack_limits(std::string_view field) noexcept {
    static_assert(kPackedLimitsBytes == 2 * kRatesOfAKind * (2 * kNumberBytes + kTimeBytes) + kNumberBytes);
    if (field.size() != kPackedLimitsBytes) return std::nullopt;
    PackedLimits packed;
    const auto take_rates = [&field](Rates& rates, std::array<std::int64_t, kRatesOfAKind>& used_up_us) {
        for (std::size_t i = 0; i < rates.size(); ++i) {
            rates[i].limit = take_packed<kNumberBytes>(field);
            rates[i].period_s = take_packed<kNumberBytes>(field);
            used_up_us[i] = take_packed<kTimeBytes>(field);
        }
    };
    take_rates(packed.limits.requests, packed.requests_used_up_us);
    take_rates(packed.limits.tokens, packed.tokens_used_up_us);
    packed.limits.concurrency = take_packed<kNumberBytes>(field);
    return packed;
}

std::string pack_unused_limits(const Limits& limits) {
    std::string field;
    if (limits == Limits{}) return field;
    for (const Rates* rates : {&limits.requests, &limits.tokens}) {
        for (const Rate& rate : *rates) {
            put_packed(field, rate.limit, kNumberBytes);
            put_packed(field, rate.period_s, kNumberBytes);
            put_packed(field, 0, kTimeBytes);
        }
    }
    put_packed(field, limits.concurrency, kNumberBytes);
    return field;
}

}  // namespace lumen

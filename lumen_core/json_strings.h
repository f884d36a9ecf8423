// Where a string of JSON ends, for those that walk its text: sixteen bytes at a time.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstddef>

namespace lumen {

/// What a search in a string stops at, besides quotes and backslashes.
enum class StopAt { nothing_else, control_characters };

/// The first byte to stop at, or `end`. Names, most values and pieces of text are short: for them a call of the library
/// takes longer than the search.
template <StopAt kStop>
const char* first_stop(const char* at, const char* end) noexcept {
    constexpr bool kControls = kStop == StopAt::control_characters;
    constexpr unsigned char kLastControl = 0x1F;  // RFC 8259 §7
#if defined(__SSE2__)
    const __m128i quotes = _mm_set1_epi8('"');
    const __m128i backslashes = _mm_set1_epi8('\\');
    [[maybe_unused]] const __m128i last_control = _mm_set1_epi8(kLastControl);
    for (; end - at >= static_cast<std::ptrdiff_t>(sizeof quotes); at += sizeof quotes) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(bytes, backslashes));
        if constexpr (kControls) {
            found = _mm_or_si128(found, _mm_cmpeq_epi8(_mm_max_epu8(bytes, last_control), last_control));
        }
        const auto mask = static_cast<unsigned>(_mm_movemask_epi8(found));
        if (mask != 0) return at + __builtin_ctz(mask);
    }
#endif
    const auto stops = [](char c) {
        return c == '"' || c == '\\' || (kControls && static_cast<unsigned char>(c) <= kLastControl);
    };
    while (at != end && !stops(*at)) ++at;
    return at;
}

inline const char* quote_or_backslash(const char* at, const char* end) noexcept {
    return first_stop<StopAt::nothing_else>(at, end);
}

/// The closing quote of the string whose text begins at `at`, behind its opening quote; null if it does not end before
/// `end`.
inline const char* closing_quote(const char* at, const char* end) noexcept {
    for (at = quote_or_backslash(at, end); at != end && *at == '\\'; at = quote_or_backslash(at + 2, end)) {
        if (end - at < 2) return nullptr;
    }
    return at != end ? at : nullptr;
}

}  // namespace lumen

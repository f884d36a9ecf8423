// Where a string of JSON ends, for those that walk its text: sixteen bytes at a time.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <cstddef>

namespace lumen {

/// The first quote or backslash, or `end`. Names and most values are short: for them a call of the library takes longer
/// than the search.
inline const char* quote_or_backslash(const char* at, const char* end) noexcept {
#if defined(__SSE2__)
    const __m128i quotes = _mm_set1_epi8('"');
    const __m128i backslashes = _mm_set1_epi8('\\');
    for (; end - at >= static_cast<std::ptrdiff_t>(sizeof quotes); at += sizeof quotes) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, quotes), _mm_cmpeq_epi8(bytes, backslashes));
        const auto mask = static_cast<unsigned>(_mm_movemask_epi8(found));
        if (mask != 0) return at + __builtin_ctz(mask);
    }
#endif
    while (at != end && *at != '"' && *at != '\\') ++at;
    return at;
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

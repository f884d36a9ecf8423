#include "lumen_core/counted_string.h"

#include <algorithm>
#include <cstddef>

#include "lumen_core/json_strings.h"

namespace lumen {
namespace {

bool is_hex(char c) noexcept {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/// UTF-8 bytes of the character escaped at `at` ("\uXXXX" with its backslash); each half of a pair counts two.
std::uint64_t unicode_escape_bytes(const char* at, const char* end) noexcept {
    if (end - at < 6) return 1;
    const auto digit = [at](int i) noexcept { return static_cast<char>(at[i] | 0x20); };  // hex, lower case
    if (digit(2) == '0' && digit(3) == '0') return digit(4) < '8' ? 1 : 2;
    if (digit(2) == '0' && digit(3) < '8') return 2;
    if (digit(2) == 'd' && digit(3) >= '8') return 2;
    return 3;
}

}  // namespace

CountedString count_string(const char* at, const char* end) noexcept {
    CountedString counted;
    const char* const begin = at;
    for (;;) {
        const char* const special = first_stop<StopAt::control_characters>(at, end);
        counted.bytes += static_cast<std::uint64_t>(special - at);
        at = special;
        if (at == end || *at == '"') break;
        std::ptrdiff_t written = 1;
        if (*at != '\\') {
            ++counted.bytes;
            counted.clean = false;
        } else if (end - at > 1 && at[1] == 'u') {
            counted.bytes += unicode_escape_bytes(at, end);
            written = 6;
            counted.clean = counted.clean && end - at >= written && std::all_of(at + 2, at + written, is_hex);
        } else {
            ++counted.bytes;
            written = 2;
            counted.clean = counted.clean && end - at >= written && static_cast<unsigned char>(at[1]) >= 0x20;
        }
        at += std::min(written, end - at);
    }
    counted.text = {begin, static_cast<std::size_t>(at - begin)};
    counted.after = at != end ? at + 1 : end;
    return counted;
}

}  // namespace lumen

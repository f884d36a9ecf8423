#include "lumen_core/trace_context.h"

#include <algorithm>

namespace lumen {
namespace {

// version "-" trace-id "-" parent-id "-" trace-flags
constexpr std::size_t kVersionDigits = 2;
constexpr std::size_t kTraceAt = 3;
constexpr std::size_t kTraceDigits = 32;
constexpr std::size_t kParentAt = 36;
constexpr std::size_t kParentDigits = 16;
constexpr std::size_t kFlagsAt = 53;
constexpr std::size_t kLength = 55;

bool is_lower_hex(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_id(std::string_view text) noexcept {
    return is_lower_hex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

bool is_printable(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

}  // namespace

bool is_traceparent(std::string_view text) noexcept {
    if (text.size() < kLength || text.size() > kMaxTraceparentBytes) return false;
    const std::string_view version = text.substr(0, kVersionDigits);
    if (!is_lower_hex(version) || version == "ff") return false;
    if (text[kTraceAt - 1] != '-' || text[kParentAt - 1] != '-' || text[kFlagsAt - 1] != '-') return false;
    const std::string_view rest = text.substr(kLength);
    if (!rest.empty() && (version == "00" || rest.front() != '-' || !is_printable(rest))) return false;
    return is_id(text.substr(kTraceAt, kTraceDigits)) && is_id(text.substr(kParentAt, kParentDigits)) &&
           is_lower_hex(text.substr(kFlagsAt, 2));
}

std::array<char, 55> make_traceparent(const RequestId& request) noexcept {
    std::array<char, kLength> text;
    text.fill('0');
    text[kTraceAt - 1] = text[kParentAt - 1] = text[kFlagsAt - 1] = '-';
    char* at = text.data() + kTraceAt;
    for (const char c : request.text) {
        if (c != '-') *at++ = c;
    }
    std::copy_n(text.data() + kTraceAt + kParentDigits, kParentDigits, text.data() + kParentAt);
    return text;
}

}  // namespace lumen

#include "lumen_core/ids.h"

namespace lumen {

bool is_request_id(std::string_view text) noexcept {
    if (text.size() != RequestId().text.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        if (dash ? c != '-' : !hex) return false;
    }
    return true;
}

RequestId make_request_id(std::int64_t unix_ms, const std::array<std::uint8_t, 10>& random) noexcept {
    std::array<std::uint8_t, 16> bytes{};
    const auto time = static_cast<std::uint64_t>(unix_ms);
    for (std::size_t i = 0; i < 6; ++i) bytes[i] = static_cast<std::uint8_t>(time >> (40 - 8 * i));
    for (std::size_t i = 0; i < random.size(); ++i) bytes[6 + i] = random[i];
    bytes[6] = static_cast<std::uint8_t>(0x70U | (bytes[6] & 0x0FU));  // version 7
    bytes[8] = static_cast<std::uint8_t>(0x80U | (bytes[8] & 0x3FU));  // variant 10

    constexpr char kHex[] = "0123456789abcdef";
    RequestId id{};
    std::size_t at = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) id.text[at++] = '-';
        id.text[at++] = kHex[bytes[i] >> 4U];
        id.text[at++] = kHex[bytes[i] & 0x0FU];
    }
    return id;
}

}  // namespace lumen

#include "admind/text/base64url.h"

namespace lumen::admind {

namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

}  // namespace

std::string base64url_encoded(std::string_view bytes) {
    std::string text;
    std::uint32_t bits = 0;
    int held = 0;
    for (const char c : bytes) {
        bits = bits << 8U | static_cast<unsigned char>(c);
        for (held += 8; held >= 6; held -= 6) text += kAlphabet[bits >> (held - 6) & 63U];
    }
    if (held > 0) text += kAlphabet[bits << (6 - held) & 63U];
    return text;
}

std::optional<std::string> base64url_decoded(std::string_view text) {
    std::string bytes;
    std::uint32_t bits = 0;
    int held = 0;
    for (const char c : text) {
        const std::size_t value = kAlphabet.find(c);
        if (value == std::string_view::npos) return std::nullopt;
        bits = bits << 6U | static_cast<std::uint32_t>(value);
        held += 6;
        if (held < 8) continue;
        held -= 8;
        bytes += static_cast<char>(bits >> held & 255U);
    }
    const bool whole = held < 6 && (bits & ((1U << held) - 1U)) == 0;
    return whole ? std::optional<std::string>(std::move(bytes)) : std::nullopt;
}

}  // namespace lumen::admind

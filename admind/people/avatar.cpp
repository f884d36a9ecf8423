#include "admind/people/avatar.h"

#include <openssl/sha.h>

#include <array>
#include <vector>

#include "admind/settings/settings.h"
#include "admind/text/html.h"

namespace lumen::admind {

namespace {

/// Grounds on which white letters have a contrast of 4.5 and more.
constexpr std::array<const char*, 8> kGrounds{"#8a4b08", "#7a1f3d", "#5b2a86", "#2f4b9a",
                                              "#0b5f78", "#1b6b3a", "#5c5a12", "#54565a"};

std::array<unsigned char, SHA256_DIGEST_LENGTH> sha256(std::string_view text) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
    return digest;
}

std::size_t character_length(unsigned char first) {
    if (first >= 0xF0) return 4;
    if (first >= 0xE0) return 3;
    return first >= 0xC0 ? 2 : 1;
}

std::string initials(std::string_view name) {
    std::string letters;
    int words = 0;
    bool at_word = true;
    for (std::size_t i = 0; i < name.size() && words < 2;) {
        const std::size_t length = std::min(character_length(static_cast<unsigned char>(name[i])), name.size() - i);
        if (name[i] == ' ') {
            at_word = true;
        } else if (at_word) {
            at_word = false;
            ++words;
            const char c = name[i];
            if (c >= 'a' && c <= 'z')
                letters += static_cast<char>(c - 'a' + 'A');
            else
                letters += name.substr(i, length);
        }
        i += length;
    }
    return letters;
}

}  // namespace

std::string gravatar_hash(std::string_view email) {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string hash;
    for (const unsigned char byte : sha256(normalised_email(email))) {
        hash += kHex[byte >> 4];
        hash += kHex[byte & 15];
    }
    return hash;
}

std::optional<std::string> picture_type(std::string_view bytes) {
    if (bytes.substr(0, 8) == "\x89PNG\r\n\x1a\n") return "image/png";
    if (bytes.substr(0, 3) == "\xFF\xD8\xFF") return "image/jpeg";
    if (bytes.substr(0, 6) == "GIF87a" || bytes.substr(0, 6) == "GIF89a") return "image/gif";
    if (bytes.substr(0, 4) == "RIFF" && bytes.size() > 12 && bytes.substr(8, 4) == "WEBP") return "image/webp";
    return std::nullopt;
}

Picture initials_picture(std::string_view name, std::string_view email) {
    HtmlWriter letters;
    letters.text(initials(name));
    const char* ground = kGrounds[sha256(normalised_email(email))[0] % kGrounds.size()];
    return {"image/svg+xml",
            std::string(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 80">)") +
                R"(<rect width="80" height="80" fill=")" + ground + R"("/>)" +
                R"(<text x="40" y="41" fill="#fff" font-family="system-ui,sans-serif" font-size="30")" +
                R"( font-weight="600" text-anchor="middle" dominant-baseline="central">)" + letters.take().text() +
                "</text></svg>"};
}

}  // namespace lumen::admind

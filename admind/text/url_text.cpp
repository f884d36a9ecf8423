#include "admind/text/url_text.h"

#include <algorithm>

namespace lumen::admind {

namespace {
constexpr std::size_t kLongestPath = 1024;
}

std::string url_escaped(std::string_view text, std::string_view also_plain) {
    static constexpr char kHex[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '_' || c == '.' || c == '~' || also_plain.find(c) != std::string_view::npos;
        if (plain) {
            out += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out += '%';
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        }
    }
    return out;
}

void FormText::add(std::string_view name, std::string_view value) {
    if (!text_.empty()) text_ += '&';
    text_ += url_escaped(name) + "=" + url_escaped(value);
}

bool is_local_path(std::string_view path) {
    return !path.empty() && path.size() <= kLongestPath && path[0] == '/' &&
           (path.size() == 1 || (path[1] != '/' && path[1] != '\\')) &&
           std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < '\x7f' && c != '\\'; });
}

}  // namespace lumen::admind

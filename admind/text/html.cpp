#include "admind/text/html.h"

#include <algorithm>
#include <array>

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestUrl = 2048;

bool begins_with(std::string_view text, std::string_view lower_prefix) {
    return text.size() >= lower_prefix.size() &&
           std::equal(lower_prefix.begin(), lower_prefix.end(), text.begin(),
                      [](char wanted, char c) { return wanted == (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
}

}  // namespace

void HtmlWriter::text(std::string_view data) {
    for (const char c : data) {
        switch (c) {
            case '&':
                out_ += "&amp;";
                break;
            case '<':
                out_ += "&lt;";
                break;
            case '>':
                out_ += "&gt;";
                break;
            case '"':
                out_ += "&quot;";
                break;
            case '\'':
                out_ += "&#39;";
                break;
            case '\0':
                out_ += "\xEF\xBF\xBD";
                break;
            default:
                out_ += c;
        }
    }
}

void HtmlWriter::open_link(std::string_view url) {
    out_ += "<a href=\"";
    text(url);
    out_ += "\">";
}

std::optional<std::string> linkable_url(std::string_view url) {
    constexpr std::array<std::string_view, 3> kSchemes{"https://", "http://", "mailto:"};
    if (url.size() > kLongestUrl) return std::nullopt;
    const bool clean =
        std::all_of(url.begin(), url.end(), [](char c) { return static_cast<unsigned char>(c) > ' ' && c != '\x7f'; });
    const bool known = std::any_of(kSchemes.begin(), kSchemes.end(),
                                   [&](std::string_view scheme) { return begins_with(url, scheme); });
    if (!clean || !known) return std::nullopt;
    return std::string(url);
}

}  // namespace lumen::admind

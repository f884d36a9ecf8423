#include "tests/harness/model_server/text_tokens.h"

#include <array>

namespace lumen::model_server {
namespace {

enum class Kind { space, word, mark };

Kind kind_of(char c) noexcept {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z'))
        return Kind::word;
    return byte <= ' ' || byte == 0x7f ? Kind::space : Kind::mark;
}

/// End of the token that begins at `at`, which is not white space.
std::size_t token_end(std::string_view text, std::size_t at) noexcept {
    if (kind_of(text[at]) == Kind::mark) return at + 1;
    while (at < text.size() && kind_of(text[at]) == Kind::word) ++at;
    return at;
}

std::size_t skip_space(std::string_view text, std::size_t at) noexcept {
    while (at < text.size() && kind_of(text[at]) == Kind::space) ++at;
    return at;
}

}  // namespace

std::size_t count_tokens(std::string_view text) noexcept {
    std::size_t count = 0;
    for (std::size_t at = skip_space(text, 0); at < text.size(); at = skip_space(text, token_end(text, at))) ++count;
    return count;
}

std::vector<std::string> split_tokens(std::string_view text) {
    std::vector<std::string> pieces;
    std::size_t begin = 0;
    for (std::size_t at = skip_space(text, 0); at < text.size(); at = skip_space(text, begin)) {
        const std::size_t end = token_end(text, at);
        pieces.emplace_back(text.substr(begin, end - begin));
        begin = end;
    }
    return pieces;
}

std::string prose(std::size_t count) {
    static constexpr std::array<std::string_view, 24> kWords = {
        "light", "falls", "through", "the",  "open", "gate",  "and",   "each",  "word", "that", "passes", "is",
        "read",  "with",  "care",    "then", "sent", "along", "while", "coins", "keep", "the",  "count",  "true"};
    std::string text;
    for (std::size_t i = 0; i < count; ++i) {
        if (i != 0) text += ' ';
        text += kWords[i % kWords.size()];
    }
    return text;
}

}  // namespace lumen::model_server

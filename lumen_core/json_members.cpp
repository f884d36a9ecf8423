#include "lumen_core/json_members.h"

#include <array>

#include "lumen_core/json_strings.h"

namespace lumen {
namespace {

/// By byte: what may follow a number or literal, or can't be part of it.
constexpr std::array<bool, 256> kEndsWord = [] {
    std::array<bool, 256> ends{};
    for (const char c : {',', '}', ']', ' ', '\n', '\r', '\t', '"', '{', '[', ':'}) {
        ends[static_cast<unsigned char>(c)] = true;
    }
    return ends;
}();

}  // namespace

std::string_view trim_json_space(std::string_view text) noexcept {
    while (!text.empty() && is_json_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_json_space(text.back())) text.remove_suffix(1);
    return text;
}

JsonMembers::JsonMembers(std::string_view object) noexcept : text_(object) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != '{') {
        state_ = State::malformed;
        return;
    }
    ++at_;
}

bool JsonMembers::next(JsonMember& member) noexcept {
    if (state_ == State::finished || state_ == State::malformed) return false;
    skip_space();
    if (at_ < text_.size() && text_[at_] == '}') {
        ++at_;
        skip_space();
        state_ = at_ == text_.size() ? State::finished : State::malformed;
        return false;
    }
    if (state_ == State::after_member) {
        if (at_ == text_.size() || text_[at_] != ',') return fail();
        ++at_;
        skip_space();
    }

    member.begin = at_;
    if (!skip_string()) return fail();
    member.key = text_.substr(member.begin + 1, at_ - member.begin - 2);
    skip_space();
    if (at_ == text_.size() || text_[at_] != ':') return fail();
    ++at_;
    skip_space();
    const std::size_t value_begin = at_;
    if (!skip_value()) return fail();
    member.value = text_.substr(value_begin, at_ - value_begin);
    member.end = at_;
    state_ = State::after_member;
    return true;
}

bool JsonMembers::fail() noexcept {
    state_ = State::malformed;
    return false;
}

void JsonMembers::skip_space() noexcept {
    while (at_ < text_.size() && is_json_space(text_[at_])) ++at_;
}

bool JsonMembers::skip_string() noexcept {
    if (at_ == text_.size() || text_[at_] != '"') return false;
    const char* const quote = closing_quote(text_.data() + at_ + 1, text_.data() + text_.size());
    if (quote == nullptr) return false;
    at_ = static_cast<std::size_t>(quote - text_.data()) + 1;
    return true;
}

bool JsonMembers::skip_value() noexcept {
    if (at_ == text_.size()) return false;
    switch (text_[at_]) {
        case '"':
            return skip_string();
        case '{':
        case '[':
            return skip_nested();
        default:
            return skip_word();
    }
}

/// A number, true, false or null, or what stands there instead.
bool JsonMembers::skip_word() noexcept {
    const std::size_t begin = at_;
    while (at_ < text_.size() && !kEndsWord[static_cast<unsigned char>(text_[at_])]) ++at_;
    return at_ > begin && at_ < text_.size();
}

/// An object or array: up to where as many have closed as have opened.
bool JsonMembers::skip_nested() noexcept {
    std::size_t depth = 0;
    while (at_ < text_.size()) {
        const char c = text_[at_];
        if (c == '"') {
            if (!skip_string()) return false;
            continue;
        }
        ++at_;
        if (c == '{' || c == '[') ++depth;
        if ((c == '}' || c == ']') && --depth == 0) return true;
    }
    return false;
}

}  // namespace lumen

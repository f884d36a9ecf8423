#include "lumen_core/json_members.h"

#include <cstring>

namespace lumen {
namespace {

bool is_space(char c) noexcept {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

}  // namespace

std::string_view trim_json_space(std::string_view text) noexcept {
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
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
        state_ = State::finished;
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
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
}

bool JsonMembers::skip_string() noexcept {
    if (at_ == text_.size() || text_[at_] != '"') return false;
    for (std::size_t i = at_ + 1; i < text_.size(); ++i) {
        if (text_[i] == '"') {
            at_ = i + 1;
            return true;
        }
        if (text_[i] == '\\') ++i;
    }
    return false;
}

bool JsonMembers::skip_value() noexcept {
    if (at_ == text_.size()) return false;
    if (text_[at_] == '"') return skip_string();

    std::size_t depth = 0;
    const std::size_t begin = at_;
    while (at_ < text_.size()) {
        switch (text_[at_]) {
            case '"':
                if (depth == 0 || !skip_string()) return false;
                continue;
            case '{':
            case '[':
                if (depth == 0 && at_ != begin) return false;
                ++depth;
                break;
            case '}':
            case ']':
                if (depth == 0) return at_ != begin;  // a number or word that ends with its object
                if (--depth == 0) {
                    ++at_;
                    return true;
                }
                break;
            case ',':
            case ' ':
            case '\n':
            case '\r':
            case '\t':
                if (depth == 0) return at_ != begin;
                break;
            default:
                break;
        }
        ++at_;
    }
    return false;
}

}  // namespace lumen

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

const char* skip_space(const char* at, const char* end) noexcept {
    while (at != end && is_json_space(*at)) ++at;
    return at;
}

// Each of these: what comes after it; null if it does not end in time.

const char* skip_string(const char* at, const char* end) noexcept {
    const char* const quote = closing_quote(at + 1, end);
    return quote != nullptr ? quote + 1 : nullptr;
}

/// A number, true, false or null, or what stands there instead.
const char* skip_word(const char* at, const char* end) noexcept {
    const char* const begin = at;
    while (at != end && !kEndsWord[static_cast<unsigned char>(*at)]) ++at;
    return at != begin && at != end ? at : nullptr;
}

/// An object or array: up to where as many have closed as have opened.
const char* skip_nested(const char* at, const char* end) noexcept {
    std::size_t depth = 0;
    while (at != end) {
        const char c = *at;
        if (c == '"') {
            at = skip_string(at, end);
            if (at == nullptr) return nullptr;
            continue;
        }
        ++at;
        if (c == '{' || c == '[') ++depth;
        if ((c == '}' || c == ']') && --depth == 0) return at;
    }
    return nullptr;
}

const char* skip_value(const char* at, const char* end) noexcept {
    if (at == end) return nullptr;
    switch (*at) {
        case '"':
            return skip_string(at, end);
        case '{':
        case '[':
            return skip_nested(at, end);
        default:
            return skip_word(at, end);
    }
}

std::string_view between(const char* begin, const char* end) noexcept {
    return {begin, static_cast<std::size_t>(end - begin)};
}

}  // namespace

std::string_view trim_json_space(std::string_view text) noexcept {
    while (!text.empty() && is_json_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_json_space(text.back())) text.remove_suffix(1);
    return text;
}

JsonMembers::JsonMembers(std::string_view object) noexcept
    : begin_(object.data()), at_(begin_), end_(begin_ + object.size()) {
    at_ = skip_space(at_, end_);
    if (at_ == end_ || *at_ != '{') {
        state_ = State::malformed;
        return;
    }
    ++at_;
}

bool JsonMembers::next(JsonMember& member) noexcept {
    if (state_ == State::finished || state_ == State::malformed) return false;
    const char* at = skip_space(at_, end_);
    if (at != end_ && *at == '}') {
        at = skip_space(at + 1, end_);
        state_ = at == end_ ? State::finished : State::malformed;
        return false;
    }
    if (state_ == State::after_member) {
        if (at == end_ || *at != ',') return fail();
        at = skip_space(at + 1, end_);
    }

    if (at == end_ || *at != '"') return fail();
    const char* const behind_key = skip_string(at, end_);
    if (behind_key == nullptr) return fail();
    const char* const colon = skip_space(behind_key, end_);
    if (colon == end_ || *colon != ':') return fail();
    const char* const value = skip_space(colon + 1, end_);
    const char* const behind_value = skip_value(value, end_);
    if (behind_value == nullptr) return fail();

    member.key = between(at + 1, behind_key - 1);
    member.value = between(value, behind_value);
    member.begin = static_cast<std::size_t>(at - begin_);
    member.end = static_cast<std::size_t>(behind_value - begin_);
    at_ = behind_value;
    state_ = State::after_member;
    return true;
}

bool JsonMembers::fail() noexcept {
    state_ = State::malformed;
    return false;
}

}  // namespace lumen

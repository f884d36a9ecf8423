// Walks the members of one JSON object as spans of its text: what metering needs in order to read a member, or to cut
// it out and leave every other byte as it was. It allocates nothing and never recurses.
#pragma once

#include <cstddef>
#include <string_view>

namespace lumen {

/// RFC 8259 §2
constexpr bool is_json_space(char c) noexcept {
    return c <= ' ' && (c == ' ' || c == '\t' || c == '\n' || c == '\r');
}

/// One member. `key` is as written, without its quotes and with its escapes; `value` is without space around it.
struct JsonMember {
    std::string_view key;
    std::string_view value;
    std::size_t begin = 0;  ///< of the key's opening quote, in bytes from the start of the object's text
    std::size_t end = 0;    ///< after the value
};

/// Finds where members begin and end; it does not judge what is inside strings, numbers and nested values. Text that
/// ends early or goes on behind the object, or has something else where a member must be, is malformed: the walk stops
/// there. What came before was given out by then, so ask at the end.
class JsonMembers {
 public:
    /// Space around the object is skipped. Text that is not an object is malformed.
    explicit JsonMembers(std::string_view object) noexcept;

    /// False: no more members, or malformed.
    bool next(JsonMember& member) noexcept;
    bool malformed() const noexcept { return state_ == State::malformed; }

 private:
    enum class State { at_first, after_member, finished, malformed };
    bool fail() noexcept;

    const char* begin_;
    const char* at_;
    const char* end_;
    State state_ = State::at_first;
};

/// Text without space (JSON's four kinds) at both ends.
std::string_view trim_json_space(std::string_view text) noexcept;

}  // namespace lumen

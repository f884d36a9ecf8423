// How many bytes a JSON string has once it is unescaped: what text is counted by.
#pragma once

#include <cstdint>
#include <string_view>

namespace lumen {

struct CountedString {
    std::string_view text;    ///< as written, without its quotes
    std::uint64_t bytes = 0;  ///< unescaped
    bool clean = true;        ///< no control characters, which JSON has not in strings, and no escape that is cut short
    const char* after = nullptr;
};

/// `at` is behind the opening quote. A string that does not end before `end` is counted as far as it goes.
CountedString count_string(const char* at, const char* end) noexcept;

}  // namespace lumen

// Vectors as PostgreSQL array texts, for statements that take a batch at once.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <vector>

namespace lumen::admind {

/// Grows an array literal of integers, `{1,2,3}`, to be cast with `::bigint[]`.
class PgIntegers {
 public:
    void add(std::int64_t value) {
        char digits[24];
        if (text_.size() > 1) text_ += ',';
        text_.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
    }
    std::string text() const { return text_ + '}'; }

 private:
    std::string text_ = "{";
};

template <class Range, class Integer>
std::string pg_integers(const Range& range, Integer integer_of) {
    PgIntegers array;
    for (const auto& element : range) array.add(integer_of(element));
    return array.text();
}

/// `values` must not need quoting (UUIDs).
inline std::string pg_array(const std::vector<std::string>& values) {
    std::string text = "{";
    for (const std::string& value : values) {
        if (text.size() > 1) text += ',';
        text += value;
    }
    return text + '}';
}

}  // namespace lumen::admind

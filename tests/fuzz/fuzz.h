// What every fuzz target shares: its input as text, and how it says that a promise was broken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace lumen::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) noexcept {
    return {reinterpret_cast<const char*>(data), size};
}

/// Aborts, so that libFuzzer keeps the input.
inline void require(bool holds, const char* promise) noexcept {
    if (holds) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

/// `text` followed by exactly `bytes` readable bytes that would continue it: ASan sees who reads further.
class Padded {
 public:
    Padded(std::string_view text, std::size_t bytes) : size_(text.size()), memory_(text) {
        memory_.append(bytes, '}');
        memory_.shrink_to_fit();
    }
    std::string_view text() const noexcept { return std::string_view(memory_).substr(0, size_); }

 private:
    std::size_t size_;
    std::string memory_;
};

}  // namespace lumen::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

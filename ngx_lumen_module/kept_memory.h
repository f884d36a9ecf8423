// Blocks of one size that are used again: the one that was given back last is still in the cache.
#pragma once

#include <array>
#include <cstddef>
#include <new>

namespace lumen {

#if defined(__has_feature)  // clang's way to ask
inline constexpr bool kFindsUseAfterEnd = __has_feature(address_sanitizer);
#elif defined(__SANITIZE_ADDRESS__)  // g++'s
inline constexpr bool kFindsUseAfterEnd = true;
#else
inline constexpr bool kFindsUseAfterEnd = false;
#endif

/// Keeps up to `kMost` blocks that nobody uses; none where whoever touches one of them is found out by that.
template <std::size_t kBlockBytes, std::size_t kMost>
class KeptMemory {
 public:
    void* take() { return count_ > 0 ? blocks_[--count_] : ::operator new(kBlockBytes); }
    void give_back(void* block) noexcept {
        if (count_ == kKept) return ::operator delete(block);
        blocks_[count_++] = block;
    }

 private:
    static constexpr std::size_t kKept = kFindsUseAfterEnd ? 0 : kMost;
    /// No heap: what a static still points to when the module is unloaded would pass for a leak.
    std::array<void*, kKept + 1> blocks_{};
    std::size_t count_ = 0;
};

}  // namespace lumen

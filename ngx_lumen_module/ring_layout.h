// What is where in the ring's file, for the two files that read and write it.
#pragma once

#include <fcntl.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "ngx_lumen_module/ring_file.h"

namespace lumen::ring_layout {

inline constexpr std::uint64_t kMagic = 0x474E49524E454D55ULL;  // "UMENRING"
/// Counts every change of Header, Slot or Copy. The first 32 bytes of the header, and the low byte of a slot's first
/// word as its state, are the same in all versions: so an older file's unsettled slots can be counted.
inline constexpr std::uint32_t kVersion = 1;

/// One byte of the file is locked by each worker while it lives, far beyond the content.
inline constexpr off_t kLockBytesAt = off_t{1} << 40;
inline constexpr off_t kPrepareLockAt = kLockBytesAt + static_cast<off_t>(kRingOwners);

/// The part of the header that no version changes.
struct HeaderStart {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t slot_bytes;
    std::uint64_t header_bytes;
    std::uint64_t slot_count;
};

/// A number that no other ring has, drawn when the file is made; 0 in files of older gates, until one of ours opens
/// them. The header's last bytes: no field of any version reaches there.
inline constexpr off_t kInstanceAt = static_cast<off_t>(kRingHeaderBytes - sizeof(std::uint64_t));

inline constexpr std::uint64_t kStateMask = 0xFF;
inline constexpr std::uint64_t kCopyBit = 0x100;
inline constexpr int kOwnerShift = 16;

/// The word that commits a slot: state, which of the two copies is the valid one, and its worker + 1 (0: nobody's).
constexpr std::uint64_t make_control(SlotState state, std::size_t copy, std::size_t owner_plus_1) {
    return static_cast<std::uint64_t>(state) | (copy != 0 ? kCopyBit : 0) |
           (static_cast<std::uint64_t>(owner_plus_1) << kOwnerShift);
}
constexpr SlotState state_of(std::uint64_t control) {
    return static_cast<SlotState>(control & kStateMask);
}
constexpr std::size_t copy_of(std::uint64_t control) {
    return (control & kCopyBit) != 0 ? 1 : 0;
}
constexpr std::size_t owner_of(std::uint64_t control) {
    return static_cast<std::size_t>(control >> kOwnerShift);
}

inline std::string failure(const char* path, const char* what) {
    return std::string(path) + ": " + what + ": " + std::strerror(errno);
}

/// A lock of the open file: it ends with the process that opened it, however that ends.
inline bool lock_byte(int fd, off_t at, short type, int command) noexcept {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = at;
    lock.l_len = 1;
    int result;
    do {
        result = fcntl(fd, command, &lock);
    } while (result == -1 && errno == EINTR);
    return result == 0;
}

}  // namespace lumen::ring_layout

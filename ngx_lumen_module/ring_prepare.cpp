// Making and checking the ring's file, before any worker uses it.
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ngx_lumen_module/ring_layout.h"

namespace lumen {

using namespace ring_layout;

namespace {

bool any_worker_alive(int fd) noexcept {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = kLockBytesAt;
    lock.l_len = static_cast<off_t>(kRingOwners);
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

struct FileDescriptor {
    int fd;
    ~FileDescriptor() {
        if (fd >= 0) close(fd);
    }
};

std::uint64_t count_unsettled(int fd, const HeaderStart& start) {
    std::uint64_t unsettled = 0;
    for (std::uint64_t i = 0; i < start.slot_count; ++i) {
        std::uint64_t control = 0;
        const auto at = static_cast<off_t>(start.header_bytes + i * start.slot_bytes);
        if (pread(fd, &control, sizeof control, at) != static_cast<ssize_t>(sizeof control)) break;
        const SlotState state = state_of(control);
        if (state != SlotState::free && state != SlotState::settled) ++unsettled;
    }
    return unsettled;
}

/// Two gates on one host are told apart by it, and one stays the same over restarts.
std::string give_instance(int fd, const char* path) {
    std::uint64_t instance = 0;
    if (pread(fd, &instance, sizeof instance, kInstanceAt) != static_cast<ssize_t>(sizeof instance)) {
        return failure(path, "cannot be read");
    }
    if (instance != 0) return {};
    while (instance == 0) {
        if (getrandom(&instance, sizeof instance, 0) != static_cast<ssize_t>(sizeof instance) && errno != EINTR) {
            return failure(path, "no number can be drawn for it");
        }
    }
    const bool written = pwrite(fd, &instance, sizeof instance, kInstanceAt) == static_cast<ssize_t>(sizeof instance);
    return written ? std::string() : failure(path, "cannot be written");
}

std::string make_ring_file(int fd, const char* path, std::size_t bytes) {
    if (ftruncate(fd, 0) != 0) return failure(path, "cannot be emptied");
    const int error = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    if (error != 0) {
        errno = error;
        return failure(path, "its space cannot be reserved");
    }
    if (std::string failed = give_instance(fd, path); !failed.empty()) return failed;
    // The zeros that fallocate left are valid free slots; the header's first bytes make the file ours, so they come
    // last.
    const HeaderStart start{kMagic, kVersion, kRingSlotBytes, kRingHeaderBytes,
                            (bytes - kRingHeaderBytes) / kRingSlotBytes};
    if (fsync(fd) != 0 || pwrite(fd, &start, sizeof start, 0) != static_cast<ssize_t>(sizeof start) || fsync(fd) != 0) {
        return failure(path, "cannot be written");
    }
    return {};
}

}  // namespace

std::string prepare_ring_file(const char* path, std::size_t bytes, uid_t user, gid_t group) {
    if (bytes < kMinRingBytes || bytes > kMaxRingBytes) return std::string(path) + ": a ring has 48k to 64g";
    const FileDescriptor file{::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (file.fd < 0) return failure(path, "cannot be opened");
    if (!lock_byte(file.fd, kPrepareLockAt, F_WRLCK, F_OFD_SETLKW)) return failure(path, "cannot be locked");
    struct stat info {};
    if (fstat(file.fd, &info) != 0) return failure(path, "cannot be looked at");
    if (geteuid() == 0 && (info.st_uid != user || info.st_gid != group) && fchown(file.fd, user, group) != 0) {
        return failure(path, "cannot be given to the workers' user");
    }

    HeaderStart start{};
    if (info.st_size >= static_cast<off_t>(sizeof start) &&
        pread(file.fd, &start, sizeof start, 0) != static_cast<ssize_t>(sizeof start)) {
        return failure(path, "cannot be read");
    }
    if (start.magic == 0) return make_ring_file(file.fd, path, bytes);  // empty, or its making was interrupted
    if (start.magic != kMagic || start.slot_bytes < sizeof(std::uint64_t) || start.slot_bytes > 65536) {
        return std::string(path) + ": is not a ring of Lumen; it is left alone, choose another path";
    }
    const bool fits = start.version == kVersion && start.slot_bytes == kRingSlotBytes &&
                      start.header_bytes == kRingHeaderBytes && info.st_size == static_cast<off_t>(bytes) &&
                      start.slot_count == (bytes - kRingHeaderBytes) / kRingSlotBytes;
    if (fits) return give_instance(file.fd, path);
    if (any_worker_alive(file.fd)) {
        return std::string(path) + ": is in use with another size or format; stop nginx to change it";
    }
    const std::uint64_t unsettled = count_unsettled(file.fd, start);
    if (unsettled > 0) {
        return std::string(path) + ": has another size or format and still holds " + std::to_string(unsettled) +
               " unsettled requests; start once with the old size and version to settle them";
    }
    return make_ring_file(file.fd, path, bytes);
}

}  // namespace lumen

// Whatever a crash, a disk or an older version left in the ring's file, a worker opens it or says why not, and every
// slot in it is read, set aside as torn, or free.
#include "ngx_lumen_module/ring_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "tests/fuzz/fuzz.h"

namespace {

using namespace lumen;

constexpr std::size_t kBytes = kMinRingBytes;

/// A file of this process's own, in memory where the machine has such a place.
const char* ring_path() {
    static const std::string path = [] {
        const bool in_memory = access("/dev/shm", W_OK) == 0;
        return std::string(in_memory ? "/dev/shm" : "/tmp") + "/lumen-ring-fuzz-" + std::to_string(getpid());
    }();
    return path.c_str();
}

/// A fresh ring with a settle in its first slot, and then `bytes` written over it from `at` on.
void damage_ring(std::string_view bytes, std::size_t at) {
    unlink(ring_path());
    fuzz::require(prepare_ring_file(ring_path(), kBytes, geteuid(), getegid()).empty(), "a ring can be made");
    std::string error;
    {
        const std::unique_ptr<RingFile> ring = RingFile::open(ring_path(), error);
        fuzz::require(ring != nullptr && ring->claim_worker(), "a ring that was made is opened");
        RingRecord record;
        record.request.text.fill('a');
        const RingSlot slot = ring->reserve(record, 1);
        ring->write(slot, SlotState::settle, record);
    }
    const int fd = open(ring_path(), O_RDWR | O_CLOEXEC);
    const std::size_t length = std::min(bytes.size(), kBytes - at);
    fuzz::require(pwrite(fd, bytes.data(), length, static_cast<off_t>(at)) == static_cast<ssize_t>(length), "written");
    close(fd);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    // The first byte chooses: over the header, or over the slots.
    const std::size_t at = (data[0] & 1) != 0 ? kRingHeaderBytes + data[1] * std::size_t{2} : data[1];
    damage_ring(fuzz::text_of(data + 2, size - 2), at);
    std::string error;
    const std::unique_ptr<RingFile> ring = RingFile::open(ring_path(), error);
    fuzz::require((ring == nullptr) == !error.empty(), "a ring or a reason");
    if (ring != nullptr && ring->claim_worker()) {
        const RingFile::Recovered found = ring->recover();
        for (const RingSlot slot : found.slots) {
            const SlotState state = ring->state(slot);
            fuzz::require(state != SlotState::free && state != SlotState::torn, "what is handed out is to be settled");
            fuzz::require(ring->read(slot).has_value(), "and can be read");
        }
        fuzz::require(found.slots.size() + found.torn <= ring->slots(), "each slot once");
        RingRecord record;
        if (const RingSlot slot = ring->reserve(record, 1)) ring->release(slot);
    }
    unlink(ring_path());
    return 0;
}

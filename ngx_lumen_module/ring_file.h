// The ring's file: fixed slots in a mapping shared by all workers, old and new ones of a reload or a binary upgrade
// (ledger.md 6.7). Knows no nginx. A worker may be killed between any two instructions: what it leaves is always one
// of the records it wrote, never a mixture.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lumen_core/account_bucket.h"
#include "lumen_core/ids.h"
#include "lumen_core/ledger_protocol.h"
#include "lumen_core/money.h"

namespace lumen {

/// `torn` is a slot whose content does not match its checksum: never settled, kept for a person to look at.
enum class SlotState : std::uint32_t { free = 0, admitting = 1, running = 2, settle = 3, settled = 4, torn = 5 };

/// A handle; index < 0: no slot.
struct RingSlot {
    std::int32_t index = -1;
    explicit operator bool() const noexcept { return index >= 0; }
};

/// What a slot carries besides its state: enough to void or settle the request without the process that ran it.
struct RingRecord {
    RequestId request{};
    AccountId account = 0;
    KeyId key = 0;
    bool is_void = false;
    NanoCoins cost;  ///< running: local shadow; settle: exact
    std::uint64_t tokens = 0;
    UsageRecord usage;
    std::uint64_t token = 0;         ///< settled: hash of the `ready` token of the reply
    std::int64_t settled_at_ms = 0;  ///< settled: the bucket's ready clock then
};

/// What changes in the record of a request while its answer comes.
struct RingProgress {
    NanoCoins cost;
    const Usage& usage;
    UsageSource source = UsageSource::none;
    std::uint16_t status = 0;
    std::uint32_t duration_ms = 0;
    std::uint32_t ttft_ms = 0;
};

inline constexpr std::size_t kRingHeaderBytes = 16384;
inline constexpr std::size_t kRingSlotBytes = 512;
/// Below this a ring is too small to be worth its name; above, indices would no longer fit.
inline constexpr std::size_t kMinRingBytes = kRingHeaderBytes + 64 * kRingSlotBytes;
inline constexpr std::size_t kMaxRingBytes = std::size_t{1} << 36;
/// Workers that can hold slots at once, old and new ones.
inline constexpr std::size_t kRingOwners = 128;
/// Free slots a worker takes at once from all free slots, and the most it keeps to itself.
inline constexpr std::size_t kFreeSlotBatch = 64;
inline constexpr std::size_t kMaxOwnFreeSlots = 2 * kFreeSlotBatch;

/// What all workers know of a bucket's `ready` mark; one of them reads it for all (settle_replay.cpp).
struct BucketReady {
    std::atomic<std::uint64_t> token;        ///< hash; 0 = never seen
    std::atomic<std::int64_t> clock_ms;      ///< runs only while the mark stands and belongs to the server that answers
    std::atomic<std::int64_t> last_look_ms;  ///< Unix ms of the last good look; 0 = the last look was not good
    std::atomic<std::int64_t> wanted_ms;     ///< Unix ms at which a worker last had SETTLED slots of this bucket
};

/// What a worker has in the ring, for those who watch.
struct RingLoad {
    std::uint64_t unsettled = 0;         ///< waiting for an acknowledgement
    std::uint64_t settled = 0;           ///< acknowledged, kept for replay
    std::int64_t oldest_settled_ms = 0;  ///< Unix ms of the oldest acknowledgement kept; 0: none
};

/// Makes the file (mode 0600, owned by `user`:`group`), or checks that it is one of ours with this size. A file of
/// another format or size is made anew if it holds nothing unsettled. Empty: done; else why not, for a person.
std::string prepare_ring_file(const char* path, std::size_t bytes, uid_t user, gid_t group);

/// One worker's hold on the file. Not for use by two threads; by any number of processes.
class RingFile {
 public:
    /// Maps a prepared file. Null: see `error`.
    static std::unique_ptr<RingFile> open(const char* path, std::string& error);
    RingFile(const RingFile&) = delete;
    RingFile& operator=(const RingFile&) = delete;
    /// Gives up the worker's lock; slots that are not free stay, to be recovered.
    ~RingFile();

    /// Takes a worker's number, and with it what a dead worker of this number left. False: all numbers are in use.
    bool claim_worker();
    std::size_t worker() const noexcept { return worker_; }

    /// A slot in state ADMITTING. No slot: none is free; the other workers are asked to make room (pressed()).
    RingSlot reserve(const RingRecord& record, std::int64_t now_ms) noexcept;
    /// Some worker found no free slot in the last two seconds: SETTLED slots should go before their time.
    bool pressed(std::int64_t now_ms) const noexcept;
    /// Replaces state and record at once; the request, account and key stay as they were reserved.
    void write(RingSlot slot, SlotState state, const RingRecord& record) noexcept;
    /// Fetches a slot's memory ahead.
    void prefetch(RingSlot slot) const noexcept;
    /// The same for a slot that is RUNNING and stays so: the rest of its record is as it was last written.
    void write_progress(RingSlot slot, const RingProgress& progress) noexcept;
    void release(RingSlot slot) noexcept;
    SlotState state(RingSlot slot) const noexcept;
    /// nullopt: the slot is free or torn.
    std::optional<RingRecord> read(RingSlot slot) const noexcept;

    /// Slots of workers that died, now this worker's, free ones already set aside; torn ones are marked and counted.
    struct Recovered {
        std::vector<RingSlot> slots;
        std::vector<std::size_t> dead_workers;
        std::size_t torn = 0;
    };
    /// At most one look at each other worker's lock. Call it each second.
    Recovered recover();

    BucketReady& bucket(Bucket bucket) noexcept;
    /// True for one worker of all, once per `period_ms`: who looks at the `ready` marks now.
    bool claim_look(std::int64_t now_ms, std::int64_t period_ms) noexcept;

    /// SETTLED slots that were given up before their replay window ended, by all workers, since the file was made.
    void count_shrunk() noexcept;
    std::uint64_t shrunk() const noexcept;
    std::size_t slots() const noexcept { return slot_count_; }
    /// Of this file and no other, for as long as it is there.
    std::uint64_t instance() const noexcept;
    /// Each worker publishes its own; total_load() is the sum over the living (oldest: the oldest of all).
    void publish_load(const RingLoad& load) noexcept;
    RingLoad total_load() const noexcept;

 private:
    struct Header;
    struct Slot;
    struct Copy;
    RingFile() = default;
    bool take_free_batch(std::int64_t now_ms) noexcept;
    bool verify(const Slot& slot, std::uint64_t control) const noexcept;
    void adopt(std::size_t dead_worker, Recovered& found);
    void clear_load(std::size_t worker) noexcept;
    bool try_lock(std::size_t worker) noexcept;
    void unlock(std::size_t worker) noexcept;

    int fd_ = -1;
    std::size_t mapped_bytes_ = 0;
    Header* header_ = nullptr;
    Slot* slots_ = nullptr;
    std::size_t slot_count_ = 0;
    std::size_t worker_ = kRingOwners;
    std::int64_t found_full_ms_ = 0;
    std::vector<std::int32_t> free_;
    Recovered inherited_;  ///< from claim_worker; handed out by the first recover()
};

}  // namespace lumen

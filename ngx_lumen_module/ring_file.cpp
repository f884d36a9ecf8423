#include "ngx_lumen_module/ring_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ngx_lumen_module/ring_layout.h"

namespace lumen {

using namespace ring_layout;

namespace {

/// How far a search goes on once it has found a free slot or more, and how long a vain search is not repeated.
constexpr std::size_t kScanAtLeast = 4096;
constexpr std::int64_t kFullForMs = 20;
constexpr std::int64_t kPressedForMs = 2'000;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t crc = i;
        for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
        table[i] = crc;
    }
    return table;
}
constexpr auto kCrcTable = make_crc_table();

std::uint32_t crc32c_by_table(std::uint32_t crc, const unsigned char* at, std::size_t bytes) noexcept {
    for (std::size_t i = 0; i < bytes; ++i) crc = (crc >> 8) ^ kCrcTable[(crc ^ at[i]) & 0xFF];
    return crc;
}

#if defined(__x86_64__)
/// The processor's own instruction, eight bytes a step: a slot is written several times a request.
__attribute__((target("sse4.2"))) std::uint32_t crc32c_by_processor(std::uint32_t crc, const unsigned char* at,
                                                                    std::size_t bytes) noexcept {
    std::uint64_t sum = crc;
    for (; bytes >= sizeof sum; at += sizeof sum, bytes -= sizeof sum) {
        std::uint64_t word = 0;
        std::memcpy(&word, at, sizeof word);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    crc = static_cast<std::uint32_t>(sum);
    if (bytes >= sizeof crc) {
        std::uint32_t word = 0;
        std::memcpy(&word, at, sizeof word);
        crc = __builtin_ia32_crc32si(crc, word);
        at += sizeof word;
        bytes -= sizeof word;
    }
    for (; bytes > 0; ++at, --bytes) crc = __builtin_ia32_crc32qi(crc, *at);
    return crc;
}
#endif

/// CRC-32C (Castagnoli), continued from `crc`.
std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t bytes) noexcept {
    const auto* at = static_cast<const unsigned char*>(data);
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) return ~crc32c_by_processor(~crc, at, bytes);
#endif
    return ~crc32c_by_table(~crc, at, bytes);
}

}  // namespace

struct RingFile::Header {
    HeaderStart start;
    std::atomic<std::uint64_t> next_scan;  ///< where the next search for free slots begins
    std::atomic<std::int64_t> pressed_at_ms;
    std::atomic<std::uint64_t> shrunk;
    std::atomic<std::int64_t> last_look_ms;
    std::atomic<std::uint8_t> worker_used[kRingOwners];
    BucketReady buckets[kBuckets];
    struct {
        std::atomic<std::uint64_t> unsettled;
        std::atomic<std::uint64_t> settled;
        std::atomic<std::int64_t> oldest_settled_ms;
    } loads[kRingOwners];
};

/// What changes while a request runs. Fixed layout: it outlives the process.
struct RingFile::Copy {
    std::uint32_t crc;  ///< over the slot's request, account and key, and over the rest of this copy
    std::uint32_t state;
    std::int64_t cost;
    std::uint64_t tokens;
    std::uint64_t token;
    std::int64_t settled_at_ms;
    std::int64_t model;
    std::int64_t endpoint;
    std::int64_t price;
    std::uint64_t usage[8];
    std::uint32_t duration_ms;
    std::uint32_t ttft_ms;
    std::uint16_t status;
    std::uint8_t source;
    std::uint8_t is_void;
    std::uint32_t unused;
};

struct RingFile::Slot {
    std::atomic<std::uint64_t> control;
    std::int64_t account;
    std::int64_t key;
    char request[36];
    std::uint32_t unused;
    Copy copies[2];
    char padding[kRingSlotBytes - 64 - 2 * sizeof(Copy)];
};

namespace {

template <typename SlotT, typename CopyT>
std::uint32_t checksum(const SlotT& slot, const CopyT& copy) noexcept {
    std::uint32_t crc = crc32c(0, &slot.account, sizeof slot.account + sizeof slot.key + sizeof slot.request);
    return crc32c(crc, &copy.state, sizeof copy - offsetof(CopyT, state));
}

template <typename CopyT>
void fill_usage(CopyT& copy, const Usage& usage) noexcept {
    const std::uint64_t counts[8] = {usage.input_tokens,  usage.cached_tokens,    usage.cache_write_tokens,
                                     usage.output_tokens, usage.reasoning_tokens, usage.audio_ms,
                                     usage.images,        usage.characters};
    std::memcpy(copy.usage, counts, sizeof counts);
}

template <typename CopyT>
void fill(CopyT& copy, SlotState state, const RingRecord& record) noexcept {
    copy = CopyT{};
    copy.state = static_cast<std::uint32_t>(state);
    copy.cost = record.cost.nano();
    copy.tokens = record.tokens;
    copy.token = record.token;
    copy.settled_at_ms = record.settled_at_ms;
    copy.model = record.usage.model;
    copy.endpoint = record.usage.endpoint;
    copy.price = record.usage.price;
    fill_usage(copy, record.usage.usage);
    copy.duration_ms = record.usage.duration_ms;
    copy.ttft_ms = record.usage.ttft_ms;
    copy.status = record.usage.status;
    copy.source = static_cast<std::uint8_t>(record.usage.source);
    copy.is_void = record.is_void ? 1 : 0;
}

template <typename SlotT, typename CopyT>
RingRecord record_of(const SlotT& slot, const CopyT& copy) noexcept {
    RingRecord record;
    std::memcpy(record.request.text.data(), slot.request, sizeof slot.request);
    record.account = slot.account;
    record.key = slot.key;
    record.is_void = copy.is_void != 0;
    record.cost = NanoCoins(copy.cost);
    record.tokens = copy.tokens;
    record.token = copy.token;
    record.settled_at_ms = copy.settled_at_ms;
    record.usage.model = copy.model;
    record.usage.endpoint = copy.endpoint;
    record.usage.price = copy.price;
    Usage& usage = record.usage.usage;
    std::uint64_t* const counts[8] = {&usage.input_tokens,  &usage.cached_tokens,    &usage.cache_write_tokens,
                                      &usage.output_tokens, &usage.reasoning_tokens, &usage.audio_ms,
                                      &usage.images,        &usage.characters};
    for (std::size_t i = 0; i < 8; ++i) *counts[i] = copy.usage[i];
    record.usage.duration_ms = copy.duration_ms;
    record.usage.ttft_ms = copy.ttft_ms;
    record.usage.status = copy.status;
    record.usage.source = static_cast<UsageSource>(copy.source);
    return record;
}

}  // namespace

std::unique_ptr<RingFile> RingFile::open(const char* path, std::string& error) {
    static_assert(sizeof(Slot) == kRingSlotBytes && sizeof(Header) <= static_cast<std::size_t>(kInstanceAt));
    static_assert(offsetof(Slot, copies) == 64 && std::atomic<std::uint64_t>::is_always_lock_free);
    std::unique_ptr<RingFile> ring(new RingFile);
    ring->fd_ = ::open(path, O_RDWR | O_CLOEXEC);
    struct stat info {};
    if (ring->fd_ < 0 || fstat(ring->fd_, &info) != 0) {
        error = failure(path, "cannot be opened");
        return nullptr;
    }
    const auto bytes = static_cast<std::size_t>(info.st_size);
    if (bytes < kMinRingBytes) {
        error = std::string(path) + ": is not a ring of Lumen";
        return nullptr;
    }
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd_, 0);
    if (at == MAP_FAILED) {
        error = failure(path, "cannot be mapped");
        return nullptr;
    }
    ring->mapped_bytes_ = bytes;
    ring->header_ = static_cast<Header*>(at);
    ring->slots_ = reinterpret_cast<Slot*>(static_cast<char*>(at) + kRingHeaderBytes);
    const HeaderStart& start = ring->header_->start;
    if (start.magic != kMagic || start.version != kVersion ||
        start.slot_count != (bytes - kRingHeaderBytes) / kRingSlotBytes) {
        error = std::string(path) + ": is not a ring of this version";
        return nullptr;
    }
    ring->slot_count_ = start.slot_count;
    return ring;
}

RingFile::~RingFile() {
    if (header_ != nullptr) {
        for (std::int32_t index : free_) slots_[index].control.store(0, std::memory_order_release);
        munmap(header_, mapped_bytes_);
    }
    if (fd_ >= 0) ::close(fd_);  // gives up the lock
}

bool RingFile::try_lock(std::size_t worker) noexcept {
    return lock_byte(fd_, kLockBytesAt + static_cast<off_t>(worker), F_WRLCK, F_OFD_SETLK);
}

void RingFile::unlock(std::size_t worker) noexcept {
    lock_byte(fd_, kLockBytesAt + static_cast<off_t>(worker), F_UNLCK, F_OFD_SETLK);
}

bool RingFile::claim_worker() {
    for (std::size_t worker = 0; worker < kRingOwners; ++worker) {
        if (!try_lock(worker)) continue;
        worker_ = worker;
        const bool was_used = header_->worker_used[worker].exchange(1) != 0;
        if (was_used) adopt(worker, inherited_);
        return true;
    }
    return false;
}

bool RingFile::take_free_batch(std::int64_t now_ms) noexcept {
    if (now_ms - found_full_ms_ >= 0 && now_ms - found_full_ms_ < kFullForMs) return false;
    const std::uint64_t mine = make_control(SlotState::free, 0, worker_ + 1);
    std::size_t at = static_cast<std::size_t>(header_->next_scan.load(std::memory_order_relaxed)) % slot_count_;
    for (std::size_t seen = 0; seen < slot_count_; ++seen, at = at + 1 < slot_count_ ? at + 1 : 0) {
        if (free_.size() == kFreeSlotBatch || (seen >= kScanAtLeast && !free_.empty())) break;
        std::uint64_t nobodys = 0;
        if (slots_[at].control.load(std::memory_order_relaxed) == 0 &&
            slots_[at].control.compare_exchange_strong(nobodys, mine, std::memory_order_acq_rel)) {
            free_.push_back(static_cast<std::int32_t>(at));
        }
    }
    header_->next_scan.store(at, std::memory_order_relaxed);
    if (free_.empty()) found_full_ms_ = now_ms;
    return !free_.empty();
}

RingSlot RingFile::reserve(const RingRecord& record, std::int64_t now_ms) noexcept {
    if (worker_ == kRingOwners) return {};
    if (free_.empty() && !take_free_batch(now_ms)) {
        header_->pressed_at_ms.store(now_ms, std::memory_order_relaxed);
        return {};
    }
    const RingSlot slot{free_.back()};
    free_.pop_back();
    Slot& in_file = slots_[slot.index];
    std::memcpy(in_file.request, record.request.text.data(), sizeof in_file.request);
    in_file.account = record.account;
    in_file.key = record.key;
    write(slot, SlotState::admitting, record);
    return slot;
}

bool RingFile::pressed(std::int64_t now_ms) const noexcept {
    const std::int64_t since = now_ms - header_->pressed_at_ms.load(std::memory_order_relaxed);
    return since >= 0 && since < kPressedForMs;
}

void RingFile::write(RingSlot slot, SlotState state, const RingRecord& record) noexcept {
    Slot& in_file = slots_[slot.index];
    const std::size_t next = 1 - copy_of(in_file.control.load(std::memory_order_relaxed));
    Copy& copy = in_file.copies[next];
    fill(copy, state, record);
    copy.crc = checksum(in_file, copy);
    in_file.control.store(make_control(state, next, worker_ + 1), std::memory_order_release);
}

void RingFile::prefetch(RingSlot slot) const noexcept {
    const auto* at = reinterpret_cast<const char*>(&slots_[slot.index]);
    for (std::size_t line = 0; line < offsetof(Slot, padding); line += 64) __builtin_prefetch(at + line, 1);
}

void RingFile::write_progress(RingSlot slot, const RingProgress& progress) noexcept {
    Slot& in_file = slots_[slot.index];
    const std::size_t now = copy_of(in_file.control.load(std::memory_order_relaxed));
    Copy& copy = in_file.copies[1 - now];
    copy = in_file.copies[now];
    copy.cost = progress.cost.nano();
    copy.tokens = progress.usage.input_tokens + progress.usage.output_tokens;
    fill_usage(copy, progress.usage);
    copy.source = static_cast<std::uint8_t>(progress.source);
    copy.status = progress.status;
    copy.duration_ms = progress.duration_ms;
    copy.ttft_ms = progress.ttft_ms;
    copy.crc = checksum(in_file, copy);
    in_file.control.store(make_control(SlotState::running, 1 - now, worker_ + 1), std::memory_order_release);
}

void RingFile::release(RingSlot slot) noexcept {
    const bool keep = free_.size() < kMaxOwnFreeSlots;
    slots_[slot.index].control.store(keep ? make_control(SlotState::free, 0, worker_ + 1) : 0,
                                     std::memory_order_release);
    if (keep) free_.push_back(slot.index);
}

SlotState RingFile::state(RingSlot slot) const noexcept {
    return state_of(slots_[slot.index].control.load(std::memory_order_acquire));
}

bool RingFile::verify(const Slot& slot, std::uint64_t control) const noexcept {
    const Copy& copy = slot.copies[copy_of(control)];
    return copy.crc == checksum(slot, copy) && copy.state == static_cast<std::uint32_t>(state_of(control));
}

std::optional<RingRecord> RingFile::read(RingSlot slot) const noexcept {
    const Slot& in_file = slots_[slot.index];
    const std::uint64_t control = in_file.control.load(std::memory_order_acquire);
    const SlotState state = state_of(control);
    if (state == SlotState::free || state == SlotState::torn || !verify(in_file, control)) return std::nullopt;
    return record_of(in_file, in_file.copies[copy_of(control)]);
}

void RingFile::adopt(std::size_t dead_worker, Recovered& found) {
    found.dead_workers.push_back(dead_worker);
    for (std::size_t i = 0; i < slot_count_; ++i) {
        Slot& slot = slots_[i];
        const std::uint64_t control = slot.control.load(std::memory_order_acquire);
        if (owner_of(control) != dead_worker + 1) continue;
        const SlotState state = state_of(control);
        if (state == SlotState::free) {
            slot.control.store(0, std::memory_order_release);
        } else if (state <= SlotState::settled && verify(slot, control)) {
            slot.control.store(make_control(state, copy_of(control), worker_ + 1), std::memory_order_release);
            found.slots.push_back(RingSlot{static_cast<std::int32_t>(i)});
        } else {
            slot.control.store(make_control(SlotState::torn, copy_of(control), 0), std::memory_order_release);
            ++found.torn;
        }
    }
}

RingFile::Recovered RingFile::recover() {
    Recovered found = std::move(inherited_);
    inherited_ = {};
    for (std::size_t worker = 0; worker < kRingOwners; ++worker) {
        if (worker == worker_ || header_->worker_used[worker].load() == 0 || !try_lock(worker)) continue;
        // Holding its lock, nobody else adopts; and if this worker is killed half-way, the mark still says so.
        if (header_->worker_used[worker].load() != 0) {
            adopt(worker, found);
            clear_load(worker);
            header_->worker_used[worker].store(0);
        }
        unlock(worker);
    }
    return found;
}

void RingFile::clear_load(std::size_t worker) noexcept {
    auto& load = header_->loads[worker];
    load.unsettled.store(0, std::memory_order_relaxed);
    load.settled.store(0, std::memory_order_relaxed);
    load.oldest_settled_ms.store(0, std::memory_order_relaxed);
}

void RingFile::publish_load(const RingLoad& load) noexcept {
    auto& mine = header_->loads[worker_];
    mine.unsettled.store(load.unsettled, std::memory_order_relaxed);
    mine.settled.store(load.settled, std::memory_order_relaxed);
    mine.oldest_settled_ms.store(load.oldest_settled_ms, std::memory_order_relaxed);
}

RingLoad RingFile::total_load() const noexcept {
    RingLoad total;
    for (const auto& load : header_->loads) {
        total.unsettled += load.unsettled.load(std::memory_order_relaxed);
        total.settled += load.settled.load(std::memory_order_relaxed);
        const std::int64_t oldest = load.oldest_settled_ms.load(std::memory_order_relaxed);
        if (oldest != 0 && (total.oldest_settled_ms == 0 || oldest < total.oldest_settled_ms)) {
            total.oldest_settled_ms = oldest;
        }
    }
    return total;
}

BucketReady& RingFile::bucket(Bucket bucket) noexcept {
    return header_->buckets[bucket];
}

bool RingFile::claim_look(std::int64_t now_ms, std::int64_t period_ms) noexcept {
    std::int64_t last = header_->last_look_ms.load();
    const std::int64_t elapsed = now_ms - last;
    if (elapsed >= 0 && elapsed < period_ms) return false;  // a clock set back must not stop the looks
    return header_->last_look_ms.compare_exchange_strong(last, now_ms);
}

void RingFile::count_shrunk() noexcept {
    header_->shrunk.fetch_add(1, std::memory_order_relaxed);
}
std::uint64_t RingFile::instance() const noexcept {
    std::uint64_t instance = 0;
    std::memcpy(&instance, reinterpret_cast<const char*>(header_) + kInstanceAt, sizeof instance);
    return instance;
}
std::uint64_t RingFile::shrunk() const noexcept {
    return header_->shrunk.load(std::memory_order_relaxed);
}

}  // namespace lumen

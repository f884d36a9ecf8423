// Settles on their way to Redis: the ring is the queue, this is the order in which its slots are sent (ledger.md 6.7).
// A slot is sent until one of the four final answers comes; then settle_replay.h keeps it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ngx_lumen_module/settle_ring.h"

namespace lumen {

ngx_int_t settle_queue_init(ngx_cycle_t* cycle);
void settle_queue_exit() noexcept;

/// A slot for an admit that is about to be sent; the oldest SETTLED slot goes if there is no free one.
RingSlot take_slot(const RingRecord& record) noexcept;
/// The record becomes a settle (or a void): from here on the slot belongs to the queue.
void enqueue_settle(RingSlot slot, const RingRecord& record) noexcept;
/// The slot is in state SETTLE already: sends it, again.
void enqueue_written(RingSlot slot) noexcept;
/// The bucket can be settled in again: what waited for it is sent now.
void resume_bucket(Bucket bucket) noexcept;

/// This worker's part since it started, for metrics.
struct SettleCounts {
    std::uint64_t unsettled = 0;  ///< now: waiting, or sent and not answered
    std::uint64_t recovered = 0;  ///< slots taken over from workers that died
    std::uint64_t torn = 0;
    std::uint64_t dead_letters = 0;
    std::uint64_t replayed = 0;
};
SettleCounts& settle_counts() noexcept;

}  // namespace lumen

// Acknowledged settles are kept until Redis cannot lose them any more without us noticing: while the bucket's `ready`
// mark stands, its tail stands; when it has changed, they are sent again (ledger.md 6.7, I11).
#pragma once

#include <cstdint>
#include <string_view>

#include "ngx_lumen_module/settle_ring.h"

namespace lumen {

void replay_init(std::int64_t replay_ms);
void replay_exit() noexcept;

/// A final answer with this `ready` token came: marks the slot SETTLED and keeps it.
void keep_settled(RingSlot slot, RingRecord record, std::string_view token) noexcept;
/// A slot that another worker left SETTLED.
void adopt_settled(RingSlot slot, const RingRecord& record) noexcept;
/// Gives up the oldest SETTLED slot to make room; false: there is none.
bool drop_oldest_settled() noexcept;

/// Each second: one worker of all looks at the `ready` marks; every worker frees or sends again its own slots.
void replay_tick(ngx_msec_t redis_timeout_ms) noexcept;

std::size_t settled_kept() noexcept;
std::int64_t oldest_settled_ms() noexcept;

}  // namespace lumen

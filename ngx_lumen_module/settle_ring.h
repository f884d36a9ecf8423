// The file-backed ring that remembers every request from before its admit until its settle is safe (ledger.md 6.7).
// A slot is written by the worker that owns it; after a worker's death another one recovers its slots.
#pragma once

#include <cstdint>
#include <string_view>

#include "lumen_core/ids.h"
#include "lumen_core/ledger_protocol.h"
#include "lumen_core/money.h"

namespace lumen {

enum class SlotState : std::uint32_t { free = 0, admitting = 1, running = 2, settle = 3, settled = 4 };

/// A handle; index < 0: no slot.
struct RingSlot {
    std::int32_t index = -1;
    explicit operator bool() const noexcept { return index >= 0; }
};

/// What a slot carries besides its state: enough to void or settle the request without the process that ran it.
struct RingRecord {
    RequestId request;
    AccountId account = 0;
    KeyId key = 0;
    bool is_void = false;
    NanoCoins cost;              ///< running: local shadow; settle: exact
    std::uint64_t tokens = 0;
    Blob blob;
};

}  // namespace lumen

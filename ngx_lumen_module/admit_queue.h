// Admits on their way to Redis. Those that one turn of the event loop asks for go in one call, which costs Redis far
// less than as many calls, and arrive no later: a turn's commands are written to the socket at its end in any case.
#pragma once

#include <cstddef>

#include "lumen_core/ledger_protocol.h"
#include "ngx_lumen_module/redis_client.h"

namespace lumen {

struct AdmitBatch;

/// Where an owner's admit stands while it is not answered; empty before and after. It must not move meanwhile.
struct AdmitPlace {
    AdmitBatch* batch = nullptr;
    std::size_t at = 0;
};

ngx_int_t admit_queue_init(ngx_cycle_t* cycle);
/// Callbacks of admits under way are not called any more: what must survive is in the ring.
void admit_queue_exit() noexcept;

/// As redis_send, on the lane of requests, with its deadline: the callback gets the line of this admit alone, or
/// `not_sent`. False: Redis is away; nothing will be sent, and the callback is not called.
bool send_admit(AdmitPlace& place, const AdmitArguments& arguments, RedisCallback callback, void* owner);
/// The owner ends first. Its admit is not sent, or its answer is dropped (T27).
void leave(AdmitPlace& place) noexcept;

}  // namespace lumen

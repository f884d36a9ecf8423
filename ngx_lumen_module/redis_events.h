// Runs a hiredis connection in nginx's event loop (T23, T24).
#pragma once

#include "ngx_lumen_module/ngx.h"

struct redisAsyncContext;

namespace lumen {

/// Gives `context` its read and write events. Commands queued in one turn of the loop leave in one write at its end.
/// false: nginx has no connection to spare; `context` is still the caller's to free.
bool attach_redis_events(redisAsyncContext* context, ngx_log_t* log) noexcept;

}  // namespace lumen

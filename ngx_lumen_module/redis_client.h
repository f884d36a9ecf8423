// Redis in nginx's event loop: hiredis async, reconnecting, every call with a deadline, nothing ever waits (T23…T30).
// A worker has three connections: request path, settles, subscriptions.
#pragma once

#include <string_view>

#include "lumen_core/ledger_protocol.h"
#include "ngx_lumen_module/ngx.h"

struct redisReply;

namespace lumen {

enum class RedisResult : std::uint8_t {
    reply,        ///< `text` is the script's reply
    error,        ///< Redis answered with an error; `text` is it (NOSCRIPT is handled inside)
    unavailable,  ///< not connected, connection lost, or no answer within the deadline: it may or may not have happened
};

/// Called exactly once for each call that was sent, unless the owner was detached. `text` dies on return.
using RedisCallback = void (*)(void* owner, RedisResult result, std::string_view text);

/// A call under way, owned by the client. The owner keeps the handle only to detach itself when it dies first (T27);
/// a late answer is then dropped.
struct RedisCall;
void detach(RedisCall* call) noexcept;

enum class RedisLane : std::uint8_t { requests, settles };

ngx_int_t redis_init_process(ngx_cycle_t* cycle);
void redis_exit_process(ngx_cycle_t* cycle);
bool redis_up(RedisLane lane) noexcept;

/// Sends the script now; the answer comes through `callback`, never from inside this function. Null: not connected
/// (nothing was sent, callback is not called). `deadline_ms` 0: no deadline (settles).
RedisCall* redis_send(RedisLane lane, ScriptCall& call, ngx_msec_t deadline_ms, RedisCallback callback, void* owner);

/// Any other command with a string, integer or nil answer, e.g. {"GET", "lumen:catalogue"}.
RedisCall* redis_command(RedisLane lane, const std::string_view* arguments, int count, ngx_msec_t deadline_ms,
                         RedisCallback callback, void* owner);

/// Messages of a channel, on the third connection; kept over reconnects. At most 8 channels.
using RedisMessage = void (*)(std::string_view payload);
void redis_subscribe(const char* channel, RedisMessage on_message);

/// Called each time a lane has (re)connected and its scripts are loaded.
void redis_on_connected(RedisLane lane, void (*callback)());

}  // namespace lumen

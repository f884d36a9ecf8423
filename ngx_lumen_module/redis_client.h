// Redis in nginx's event loop: hiredis async, reconnecting, every call with a deadline, nothing ever waits (T23…T30).
// A worker has three connections: request path, settles, and that of its channels (redis_channels.h). Of a Cluster it
// has the first two to each node; redirections are followed, and a node that cannot serve for the moment is
// unavailable.
#pragma once

#include <string_view>

#include "lumen_core/ledger_protocol.h"
#include "ngx_lumen_module/ngx.h"

namespace lumen {

enum class RedisResult : std::uint8_t {
    reply,        ///< `text` is the script's reply
    error,        ///< Redis answered with an error; `text` is it (NOSCRIPT is handled inside)
    unavailable,  ///< connection lost, or no answer within the deadline: it may or may not have happened
    not_sent,     ///< not connected or too much under way: it has not happened (of calls that are sent later only)
};

/// Called exactly once for each call that was sent, unless the owner was detached. `text` dies on return.
using RedisCallback = void (*)(void* owner, RedisResult result, std::string_view text);

/// A call under way, owned by the client. The owner keeps the handle only to detach itself when it dies first (T27);
/// a late answer is then dropped.
struct RedisCall;
void detach(RedisCall* call) noexcept;

enum class RedisLane : std::uint8_t { requests, settles };

ngx_int_t redis_init_process(ngx_cycle_t* cycle);
/// Closes all connections. Callbacks of calls under way are not called any more: what must survive is in the ring.
void redis_exit_process(ngx_cycle_t* cycle);
/// Connected, and answering: false as well while a call has waited beyond its deadline and nothing has come since. Of a
/// Cluster: some node is.
bool redis_up(RedisLane lane) noexcept;
/// Likewise, of a Cluster: every node that serves slots.
bool redis_complete(RedisLane lane) noexcept;
/// A call must stay in one bucket then, and one node's absence is not that of all.
bool redis_clustered() noexcept;
/// Below kMostNodes; equal for buckets of one server.
std::size_t redis_node_of(RedisLane lane, Bucket bucket) noexcept;

/// Calls under way on one lane. More is refused at once: a Redis that is this far behind answers too late anyway.
inline constexpr std::size_t kMaxCallsInFlight = 8192;
/// A connection with calls under way and no answer at all for this long is given up (a half-open TCP connection).
inline constexpr ngx_msec_t kLongestSilenceMs = 5'000;

/// Sends the script now; the answer comes through `callback`, never from inside this function. Null: not connected, not
/// answering or too much under way (nothing was sent, callback is not called). `deadline_ms` 0: no deadline (settles).
RedisCall* redis_send(RedisLane lane, ScriptCall& call, ngx_msec_t deadline_ms, RedisCallback callback, void* owner);

/// Any other command, e.g. {"GET", "lumen:catalogue"}. `text` is its string or integer, empty for nil; the elements of
/// a flat array are joined by single spaces, with `-` for nil. One without a key goes to the server of the key
/// `beside`.
RedisCall* redis_command(RedisLane lane, const std::string_view* arguments, int count, ngx_msec_t deadline_ms,
                         RedisCallback callback, void* owner, std::string_view beside = {});

/// Called each time a lane has (re)connected and its scripts are loaded.
void redis_on_connected(RedisLane lane, void (*callback)());

}  // namespace lumen

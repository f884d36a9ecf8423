// One connection of admind to one Redis server: deadlines on everything, scripts loaded on connect.
#pragma once

#include <hiredis/hiredis.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "admind/stores/redis_address.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

/// Redis cannot be reached or did not answer in time: the call may or may not have happened. 503 redis_unavailable.
struct RedisUnavailable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

using RedisReply = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;

bool is_error(const redisReply& reply) noexcept;
/// The text of an error, for a reply that is one; else empty.
std::string_view error_text(const redisReply& reply) noexcept;

/// Reconnects by itself on the next append() after a failure. Every failure throws RedisUnavailable.
class RedisConnection {
 public:
    RedisConnection(RedisAddress address, std::chrono::milliseconds timeout, Deployment deployment);

    void append(int count, const char** arguments, const std::size_t* lengths);
    /// A command as redis_command_text() writes it.
    void append_text(std::string_view command);
    RedisReply receive();
    /// Until the next call: how long the server may hold an answer back, on top of the time-out.
    void allow_wait(std::chrono::milliseconds wait);

    /// Needed after leaving a pipeline early: unread replies must not answer later calls.
    void drop() noexcept;
    std::size_t outstanding() const noexcept { return outstanding_; }
    const RedisAddress& address() const noexcept { return address_; }

 private:
    void ensure_connected();
    void connect();
    [[noreturn]] void fail(const char* doing);

    RedisAddress address_;
    std::chrono::milliseconds timeout_;
    Deployment deployment_;
    std::unique_ptr<redisContext, decltype(&redisFree)> context_;
    std::size_t outstanding_ = 0;
};

/// A command as it is sent.
std::string redis_command_text(int count, const char** arguments, const std::size_t* lengths);

}  // namespace lumen::admind

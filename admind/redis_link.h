// Synchronous Redis for admind: one connection per link, deadlines on everything, scripts loaded on connect.
#pragma once

#include <hiredis/hiredis.h>

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

/// Redis cannot be reached or did not answer in time: the call may or may not have happened. 503 redis_unavailable.
struct RedisUnavailable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

using RedisReply = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;

/// Not thread-safe: one link per thread, or per pool lease. Reconnects by itself on the next call after a failure.
class RedisLink {
   public:
    /// `url`: redis://[user:password@]host:port/db, unix:///path (or unix:/path).
    RedisLink(std::string url, std::chrono::milliseconds timeout);

    /// Runs a script; the text of its reply. NOSCRIPT is answered by EVAL. Throws RedisUnavailable; a Redis error reply
    /// is a std::runtime_error with its text.
    std::string call(ScriptCall& call);
    /// Pipelines: queue any number with append(), then read as many replies, in order, with next().
    void append(ScriptCall& call);
    void append(const std::vector<std::string_view>& command);
    RedisReply next();
    RedisReply command(const std::vector<std::string_view>& arguments);

    /// master_replid of INFO replication if the server's role is master; empty otherwise.
    std::string master_replication_id();

   private:
    void connect();
    std::string url_;
    std::chrono::milliseconds timeout_;
    std::unique_ptr<redisContext, decltype(&redisFree)> context_;
};

/// Lends links to request threads; bounded.
class RedisPool;

}  // namespace lumen::admind

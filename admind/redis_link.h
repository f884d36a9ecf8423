// Synchronous Redis for admind: one connection per link, deadlines on everything, scripts loaded on connect.
#pragma once

#include <hiredis/hiredis.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
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

/// Redis answered with an error: nothing, or in mid-script only a part, was done.
struct RedisError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

using RedisReply = std::unique_ptr<redisReply, decltype(&freeReplyObject)>;

/// Not thread-safe: one link per thread, or per pool lease. Reconnects by itself on the next call after a failure.
/// hiredis writes with write(2): the process must ignore SIGPIPE.
class RedisLink {
 public:
    /// `url`: redis://[user:password@]host:port/db, unix:///path (or unix:/path).
    RedisLink(std::string url, std::chrono::milliseconds timeout);

    /// Runs a script; the text of its reply. NOSCRIPT is answered by EVAL. Throws RedisUnavailable; a Redis error reply
    /// is a RedisError with its text.
    std::string call(ScriptCall& call);
    /// Pipelines: queue any number with append(), then read as many replies, in order, with next(). Error replies are
    /// returned, but for NOSCRIPT, which drops the connection: the next one loads the scripts again.
    void append(ScriptCall& call);
    void append(const std::vector<std::string_view>& command);
    RedisReply next();
    /// One command; throws RedisError on an error reply.
    RedisReply command(const std::vector<std::string_view>& arguments);
    /// As command(), for one that the server holds back for up to `wait` (XREAD BLOCK, WAIT).
    RedisReply blocking_command(const std::vector<std::string_view>& arguments, std::chrono::milliseconds wait);

    /// master_replid of INFO replication if the server's role is master; empty otherwise.
    std::string master_replication_id();

    /// Closes the connection. Needed after leaving a pipeline early: unread replies must not answer later calls.
    void drop() noexcept;
    /// Replies still to be read with next().
    std::size_t outstanding() const noexcept { return outstanding_; }

 private:
    void ensure_connected();
    void connect();
    RedisReply receive();
    [[noreturn]] void fail(const char* doing);

    std::string url_;
    std::chrono::milliseconds timeout_;
    std::unique_ptr<redisContext, decltype(&redisFree)> context_;
    std::size_t outstanding_ = 0;
};

/// The text of a string or status reply; empty for nil and everything else.
std::string_view reply_text(const redisReply* reply) noexcept;
/// What `INFO replication` says: the replid of a master, empty for a replica.
std::string master_replication_id_of(std::string_view info_replication);

/// Lends links to request threads; bounded.
class RedisPool {
 public:
    RedisPool(std::string url, std::size_t size, std::chrono::milliseconds timeout);

    /// One link for one unit of work; a link with unread replies is dropped when it comes back.
    class Lease {
     public:
        Lease(Lease&&) noexcept;
        Lease& operator=(Lease&&) = delete;
        ~Lease();
        RedisLink& operator*() const noexcept { return *link_; }
        RedisLink* operator->() const noexcept { return link_.get(); }

     private:
        friend class RedisPool;
        Lease(RedisPool& pool, std::unique_ptr<RedisLink> link) noexcept;
        RedisPool* pool_;
        std::unique_ptr<RedisLink> link_;
    };
    /// Waits at most the time-out for a link; throws RedisUnavailable if none became free.
    Lease acquire();

    const std::string& url() const noexcept { return url_; }

 private:
    void give_back(std::unique_ptr<RedisLink> link) noexcept;

    std::string url_;
    std::size_t size_;
    std::chrono::milliseconds timeout_;
    std::mutex mutex_;
    std::condition_variable freed_;
    std::size_t lent_ = 0;
    std::vector<std::unique_ptr<RedisLink>> idle_;
};

}  // namespace lumen::admind

// Synchronous Redis for admind, one server or a Cluster: deadlines on everything, scripts loaded on connect.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "admind/stores/redis_cluster.h"
#include "admind/stores/redis_connection.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

/// Redis answered with an error: nothing, or in mid-script only a part, was done.
struct RedisError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// master_replid of the server that a bucket is on, if its role is master; empty if not, or while it is away.
using ReplicationIds = std::array<std::string, kBuckets>;

/// Not thread-safe: one link per thread, or per pool lease. Reconnects by itself on the next call after a failure.
/// hiredis writes with write(2): the process must ignore SIGPIPE.
class RedisLink {
 public:
    /// `url` as parse_redis_url() takes it.
    RedisLink(const std::string& url, std::chrono::milliseconds timeout);

    /// Runs a script; the text of its reply. NOSCRIPT is answered by EVAL. Throws RedisUnavailable; a Redis error reply
    /// is a RedisError with its text.
    std::string call(ScriptCall& call);
    /// Pipelines: queue any number with append(), then read as many replies, in order, with next(). Error replies are
    /// returned, but for NOSCRIPT, which drops the connection: the next one loads the scripts again; and for those of a
    /// Cluster's node that is away, or whose slot moves, which are RedisUnavailable.
    void append(ScriptCall& call);
    void append(const std::vector<std::string_view>& command);
    RedisReply next();
    /// For pipelines over many buckets: in a Cluster, what its node did not do is an error reply, and the rest is read.
    RedisReply next_of_any();
    /// One command; throws RedisError on an error reply.
    RedisReply command(const std::vector<std::string_view>& arguments);
    /// As command(), for one that the server holds back for up to `wait` (XREAD BLOCK, WAIT).
    RedisReply blocking_command(const std::vector<std::string_view>& arguments, std::chrono::milliseconds wait);

    /// Where commands without a key (INFO, WAIT, TIME, CONFIG …) go from here on: to the server that the bucket is on.
    RedisLink& at(Bucket bucket) noexcept;
    /// master_replid of INFO replication if that server's role is master; empty otherwise.
    std::string master_replication_id(Bucket bucket);
    ReplicationIds replication_ids();
    /// For what a Cluster does server by server (SCAN, CONFIG): `work` gets a link to each master by itself.
    void each_master(const std::function<void(RedisLink&)>& work);
    bool clustered() const noexcept { return cluster_ != nullptr; }

    /// Closes the connection. Needed after leaving a pipeline early: unread replies must not answer later calls.
    void drop() noexcept;
    /// Replies still to be read with next().
    std::size_t outstanding() const noexcept;

 private:
    RedisLink(const RedisAddress& address, std::chrono::milliseconds timeout);
    void append(int count, const char** arguments, const std::size_t* lengths);
    RedisReply receive();
    RedisReply accepted(RedisReply reply) const;

    std::chrono::milliseconds timeout_;
    std::unique_ptr<RedisConnection> server_;  ///< one of the two
    std::unique_ptr<RedisCluster> cluster_;
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

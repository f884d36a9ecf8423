// The servers of one lane: one Redis, or the nodes of a Cluster with the map of which slots are on which. Each keeps a
// connection of its own.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/cluster_slot.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/ngx.h"
#include "ngx_lumen_module/redis_connection.h"

struct redisReply;

namespace lumen {

/// Nodes that a worker has ever heard of. A Cluster that replaces all of its nodes again and again needs a reload.
inline constexpr std::size_t kMostNodes = 128;
/// The map is asked for at most this often, and so often while a node that has slots is away.
inline constexpr ngx_msec_t kMapPauseMs = 200;

class RedisNodes;

struct RedisNode {
    RedisNodes* nodes = nullptr;
    std::size_t index = 0;
    std::string address;  ///< as RedisConnection takes it
    RedisConnection connection;
    std::size_t under_way = 0;
    ngx_msec_t last_answer_at = 0;
    bool stalled = false;  ///< a deadline passed and nothing has been answered since
    ngx_event_t silence{};
    bool serves = false;  ///< the map has slots for it
};

class RedisNodes {
 public:
    struct Options {
        const MainConf* conf = nullptr;
        ngx_log_t* log = nullptr;
        const char* purpose = "";  ///< for the log
        void (*on_ready)(void* owner) =
            nullptr;  ///< a node can be asked, and if it is a Cluster's, where slots are is known
        void (*on_silence)(ngx_event_t*) = nullptr;  ///< of a node's `silence` timer; its data is the node
        bool silence_is_cancelable = true;
        void* owner = nullptr;
    };

    void start(const Options& options);
    void stop() noexcept;

    /// The node that a key is on; any, for an empty one; null where nobody is known to serve it.
    RedisNode* of_key(std::string_view key) noexcept;
    /// The one that a redirection names, which is remembered if it is for good. Null: it names none that can be asked.
    RedisNode* redirected(const ClusterRedirection& to, const RedisNode& said_by);
    /// Something says that the map is old.
    void refresh() noexcept;

    bool clustered() const noexcept { return options_.conf->redis_cluster; }
    /// Some node can be asked, and it is known what for.
    bool any_ready() const noexcept;
    /// Every node that serves slots can be asked.
    bool all_ready() const noexcept;
    void* owner() const noexcept { return options_.owner; }

 private:
    RedisNode* node_at(std::string_view address);
    void ask_for_map(RedisNode& node) noexcept;
    void take_map(const redisReply& ranges, const RedisNode& said_by);
    void node_ready(RedisNode& node) noexcept;

    static void on_node_ready(void* node);
    static bool is_wanted(void* node);
    static void on_map(struct redisAsyncContext* context, void* reply, void* node);
    static void on_map_time(ngx_event_t* timer);

    Options options_;
    std::vector<std::unique_ptr<RedisNode>> all_;
    std::array<std::uint8_t, kClusterSlots> map_{};
    bool mapped_ = false;
    bool asking_ = false;
    bool stopped_ = false;
    ngx_msec_t asked_at_ = 0;
    ngx_event_t map_timer_{};
};

}  // namespace lumen

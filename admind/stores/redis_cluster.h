// The nodes of a Redis Cluster as one server: a command goes to the node of its key, redirections are followed, and a
// node that is away costs only its own commands.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "admind/stores/redis_connection.h"
#include "lumen_core/cluster_slot.h"

namespace lumen::admind {

/// Begins the error reply of a command whose node is away: it may or may not have happened.
inline constexpr std::string_view kNodeAway = "NODEAWAY";

/// Not thread-safe. Replies come in the order of the commands, whichever nodes they went to.
class RedisCluster {
 public:
    RedisCluster(const RedisAddress& address, std::chrono::milliseconds timeout);

    /// Where commands without a key go from here on: the node of this slot.
    void at(std::uint16_t slot) noexcept { at_ = slot; }
    /// Throws RedisUnavailable only while no node at all has said where the slots are.
    void append(int count, const char** arguments, const std::size_t* lengths);
    /// An error reply that begins with kNodeAway stands for one that did not come.
    RedisReply next();
    /// For the next reply of the node that at() named.
    void allow_wait(std::chrono::milliseconds wait);

    void drop() noexcept;
    std::size_t outstanding() const noexcept { return sent_.size(); }
    /// Of a slot; equal for slots of one node. Throws as append().
    std::size_t node_of(std::uint16_t slot);
    /// Nodes that serve slots.
    std::vector<RedisAddress> masters();

 private:
    struct Node {
        Node(const RedisAddress& address, std::chrono::milliseconds timeout)
            : connection(address, timeout, Deployment::cluster), detour(address, timeout, Deployment::cluster) {}
        RedisConnection connection;
        RedisConnection detour;  ///< of what was redirected: it must not queue behind a pipeline
        std::chrono::steady_clock::time_point away_until{};
    };
    struct Sent {
        std::size_t node = 0;
        bool away = false;
        std::string command;  ///< kept for a redirection
    };

    void ensure_map();
    bool read_map(Node& node);
    void take_map(const redisReply& ranges, const RedisAddress& asked);
    std::size_t node_at(const std::string& host, int port);
    void give_up(std::size_t node);
    std::size_t somebody(std::size_t preferred) const;
    RedisReply redirected(const Sent& sent, RedisReply reply);
    RedisReply ask_directly(std::size_t node, const std::string& command, bool asking);

    RedisAddress seed_;
    std::chrono::milliseconds timeout_;
    std::vector<std::unique_ptr<Node>> nodes_;  ///< only ever grows: by as many as the Cluster ever had
    std::array<std::uint16_t, kClusterSlots> map_{};
    bool mapped_ = false;
    bool map_is_old_ = true;
    std::chrono::steady_clock::time_point next_look_{};
    std::uint16_t at_ = 0;
    std::deque<Sent> sent_;
};

}  // namespace lumen::admind

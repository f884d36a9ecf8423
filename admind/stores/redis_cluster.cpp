#include "admind/stores/redis_cluster.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace lumen::admind {

namespace {

using Clock = std::chrono::steady_clock;

/// A node that failed is not asked again for so long: every bucket of it would wait for its own time-out.
constexpr auto kAwayFor = std::chrono::milliseconds(500);
/// The map is read again at most this often, however many redirections and failures say that it is old.
constexpr auto kLookPause = std::chrono::milliseconds(100);
constexpr std::uint16_t kNobody = 0xFFFF;

std::string_view text_of(const redisReply& reply) noexcept {
    if (reply.type != REDIS_REPLY_STRING && reply.type != REDIS_REPLY_STATUS) return {};
    return {reply.str, static_cast<std::size_t>(reply.len)};
}

RedisReply error_reply(const std::string& text) {
    const std::unique_ptr<redisReader, decltype(&redisReaderFree)> reader(redisReaderCreate(), &redisReaderFree);
    const std::string line = '-' + text + "\r\n";
    void* reply = nullptr;
    if (!reader || redisReaderFeed(reader.get(), line.data(), line.size()) != REDIS_OK ||
        redisReaderGetReply(reader.get(), &reply) != REDIS_OK || !reply) {
        throw std::bad_alloc();
    }
    return RedisReply(static_cast<redisReply*>(reply), &freeReplyObject);
}

/// What is published on one node is heard on all.
bool any_will_do(std::string_view verb) {
    return verb == "PUBLISH" || verb == "PING" || verb == "TIME";
}

/// By node: has it slots?
template <class Map>
std::vector<bool> serving(const Map& map, std::size_t nodes) {
    std::vector<bool> serves(nodes);
    for (const std::uint16_t node : map) {
        if (node != kNobody) serves[node] = true;
    }
    return serves;
}

std::string_view argument(int count, const char** arguments, const std::size_t* lengths, int at) {
    return at < count ? std::string_view(arguments[at], lengths[at]) : std::string_view();
}

}  // namespace

RedisCluster::RedisCluster(const RedisAddress& address, std::chrono::milliseconds timeout)
    : seed_(address), timeout_(timeout) {
    map_.fill(kNobody);
    for (const RedisAddress& node : address.nodes) node_at(node.host, node.port);
}

std::size_t RedisCluster::node_at(const std::string& host, int port) {
    const auto found = std::find_if(nodes_.begin(), nodes_.end(), [&](const auto& node) {
        return node->connection.address().host == host && node->connection.address().port == port;
    });
    if (found != nodes_.end()) return static_cast<std::size_t>(found - nodes_.begin());
    RedisAddress address = seed_;
    address.nodes.clear();
    address.host = host;
    address.port = port;
    nodes_.push_back(std::make_unique<Node>(address, timeout_));
    return nodes_.size() - 1;
}

/// CLUSTER SLOTS: for each range its first and last slot, then its master and its replicas as host, port, …
void RedisCluster::take_map(const redisReply& ranges, const RedisAddress& asked) {
    map_.fill(kNobody);
    for (std::size_t i = 0; i < ranges.elements; ++i) {
        const redisReply& range = *ranges.element[i];
        if (range.type != REDIS_REPLY_ARRAY || range.elements < 3) continue;
        const redisReply& master = *range.element[2];
        if (master.type != REDIS_REPLY_ARRAY || master.elements < 2) continue;
        const std::string_view host = text_of(*master.element[0]);
        // A node that does not know its own address names none: it is where it was asked.
        const std::size_t node =
            node_at(host.empty() ? asked.host : std::string(host), static_cast<int>(master.element[1]->integer));
        const long long last = std::min<long long>(range.element[1]->integer, kClusterSlots - 1);
        for (long long slot = std::max(0LL, range.element[0]->integer); slot <= last; ++slot) {
            map_[static_cast<std::size_t>(slot)] = static_cast<std::uint16_t>(node);
        }
    }
}

bool RedisCluster::read_map(Node& node) {
    const RedisAddress address = node.detour.address();
    try {
        const char* command[] = {"CLUSTER", "SLOTS"};
        const std::size_t lengths[] = {7, 5};
        node.detour.append(2, command, lengths);
        const RedisReply ranges = node.detour.receive();
        if (ranges->type != REDIS_REPLY_ARRAY || ranges->elements == 0) return false;
        take_map(*ranges, address);
        return true;
    } catch (const RedisUnavailable&) {
        node.away_until = Clock::now() + kAwayFor;
        return false;
    }
}

void RedisCluster::ensure_map() {
    if (!map_is_old_ || (mapped_ && Clock::now() < next_look_)) return;
    const auto now = Clock::now();
    next_look_ = now + kLookPause;
    // One that serves no slot may be gone for good: it would be waited for again and again.
    const std::vector<bool> serves = serving(map_, nodes_.size());
    std::vector<std::size_t> order(serves.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_partition(order.begin(), order.end(), [&](std::size_t node) { return serves[node]; });
    for (const std::size_t node : order) {
        if (nodes_[node]->away_until > now || !read_map(*nodes_[node])) continue;
        mapped_ = true;
        map_is_old_ = false;
        return;
    }
    if (!mapped_) throw RedisUnavailable("redis: no node of the cluster says where its slots are");
}

std::size_t RedisCluster::node_of(std::uint16_t slot) {
    ensure_map();
    return map_[slot];
}

std::vector<RedisAddress> RedisCluster::masters() {
    map_is_old_ = true;
    ensure_map();
    const std::vector<bool> serves = serving(map_, nodes_.size());
    std::vector<RedisAddress> found;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        if (serves[i]) found.push_back(nodes_[i]->connection.address());
    }
    return found;
}

std::size_t RedisCluster::somebody(std::size_t preferred) const {
    const auto now = Clock::now();
    if (preferred != kNobody && nodes_[preferred]->away_until <= now) return preferred;
    for (const std::uint16_t node : map_) {
        if (node != kNobody && nodes_[node]->away_until <= now) return node;
    }
    return preferred;
}

void RedisCluster::append(int count, const char** arguments, const std::size_t* lengths) {
    const auto at = [&](int i) { return argument(count, arguments, lengths, i); };
    const std::string_view key = routing_key(at(0), at(1), at(3));
    Sent sent;
    sent.node = node_of(key.empty() ? at_ : cluster_slot(key));
    if (key.empty() && any_will_do(at(0))) sent.node = somebody(sent.node);
    sent.command = redis_command_text(count, arguments, lengths);
    sent.away = sent.node == kNobody || nodes_[sent.node]->away_until > Clock::now();
    if (!sent.away) {
        try {
            nodes_[sent.node]->connection.append_text(sent.command);
        } catch (const RedisUnavailable&) {
            give_up(sent.node);
            sent.away = true;
        }
    }
    if (sent.node == kNobody) map_is_old_ = true;
    sent_.push_back(std::move(sent));
}

/// What went to the node is answered as kNodeAway; the others' replies still come.
void RedisCluster::give_up(std::size_t node) {
    nodes_[node]->connection.drop();
    nodes_[node]->away_until = Clock::now() + kAwayFor;
    map_is_old_ = true;
    for (Sent& sent : sent_) sent.away = sent.away || sent.node == node;
}

RedisReply RedisCluster::next() {
    if (sent_.empty()) throw RedisUnavailable("redis: the pipeline was cut");
    const Sent sent = std::move(sent_.front());
    sent_.pop_front();
    const auto away = [&] {
        return error_reply(std::string(kNodeAway) + ' ' +
                           (sent.node == kNobody ? "no node serves the slot"
                                                 : nodes_[sent.node]->connection.address().text() + " is away"));
    };
    if (sent.away) return away();
    try {
        return redirected(sent, nodes_[sent.node]->connection.receive());
    } catch (const RedisUnavailable&) {
        give_up(sent.node);
        return away();
    }
}

/// Follows MOVED and ASK. What ends in another redirection is one all the same: the caller repeats it at its leisure.
RedisReply RedisCluster::redirected(const Sent& sent, RedisReply reply) {
    std::size_t node = sent.node;
    for (int i = 0; i < kMostRedirections; ++i) {
        const auto to = parse_redirection(error_text(*reply));
        if (!to) break;
        const std::string host(to->host.empty() ? nodes_[node]->connection.address().host : std::string(to->host));
        node = node_at(host, to->port);
        if (!to->ask) {
            map_[to->slot] = static_cast<std::uint16_t>(node);
            map_is_old_ = true;  // where one slot went, others follow
        }
        reply = ask_directly(node, sent.command, to->ask);
    }
    return reply;
}

RedisReply RedisCluster::ask_directly(std::size_t node, const std::string& command, bool asking) {
    RedisConnection& detour = nodes_[node]->detour;
    try {
        if (asking) {
            const char* word[] = {"ASKING"};
            const std::size_t length[] = {6};
            detour.append(1, word, length);
        }
        detour.append_text(command);
        if (asking) detour.receive();
        return detour.receive();
    } catch (const RedisUnavailable& away) {
        map_is_old_ = true;
        return error_reply(std::string(kNodeAway) + ' ' + away.what());
    }
}

void RedisCluster::allow_wait(std::chrono::milliseconds wait) {
    const std::size_t node = node_of(at_);
    if (node != kNobody) nodes_[node]->connection.allow_wait(wait);
}

void RedisCluster::drop() noexcept {
    for (const Sent& sent : sent_) {
        if (!sent.away) nodes_[sent.node]->connection.drop();
    }
    sent_.clear();
}

}  // namespace lumen::admind

#include "ngx_lumen_module/redis_nodes.h"

#include <hiredis/async.h>

#include <algorithm>

#include "ngx_lumen_module/guard.h"

namespace lumen {
namespace {

constexpr std::uint8_t kNobody = 0xFF;
static_assert(kMostNodes < kNobody);

std::string_view text_of(const redisReply& reply) noexcept {
    if (reply.type != REDIS_REPLY_STRING && reply.type != REDIS_REPLY_STATUS) return {};
    return {reply.str, static_cast<std::size_t>(reply.len)};
}

/// `IP:port`. Names are not looked up in a worker (T23): a node that is announced by one is nobody.
std::string address_of(std::string_view host, long long port) {
    std::string text(host);
    unsigned char parsed[16];
    const bool v4 = inet_pton(AF_INET, text.c_str(), parsed) == 1;
    if ((!v4 && inet_pton(AF_INET6, text.c_str(), parsed) != 1) || port <= 0 || port > 65535) return {};
    return (v4 ? text : '[' + text + ']') + ':' + std::to_string(port);
}

/// Of `IP:port`.
std::string_view host_of(std::string_view address) noexcept {
    std::string_view host = address.substr(0, address.rfind(':'));
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    return host;
}

}  // namespace

void RedisNodes::start(const Options& options) {
    options_ = options;
    map_.fill(kNobody);
    mapped_ = !clustered();
    map_timer_.handler = on_map_time;
    map_timer_.data = this;
    map_timer_.log = options.log;
    map_timer_.cancelable = 1;
    for (std::size_t i = 0; i < options.conf->redis_addresses->nelts; ++i) {
        node_at(view(static_cast<ngx_str_t*>(options.conf->redis_addresses->elts)[i]));
    }
}

void RedisNodes::stop() noexcept {
    stopped_ = true;
    if (map_timer_.timer_set) {
        ngx_del_timer(&map_timer_);
    }
    for (const auto& node : all_) node->connection.stop();
}

RedisNode* RedisNodes::node_at(std::string_view address) {
    for (const auto& node : all_) {
        if (node->address == address) return node.get();
    }
    if (all_.size() == kMostNodes) return nullptr;
    RedisNode& node = *all_.emplace_back(std::make_unique<RedisNode>());
    node.nodes = this;
    node.index = all_.size() - 1;
    node.address = address;
    node.silence.handler = options_.on_silence;
    node.silence.data = &node;
    node.silence.log = options_.log;
    node.silence.cancelable = options_.silence_is_cancelable ? 1 : 0;
    RedisConnection::Options connection;
    connection.conf = options_.conf;
    connection.addresses = {node.address};
    connection.log = options_.log;
    connection.purpose = options_.purpose;
    connection.load_scripts = true;
    connection.on_ready = on_node_ready;
    if (clustered()) connection.is_wanted = is_wanted;
    connection.owner = &node;
    node.connection.start(connection);
    return &node;
}

RedisNode* RedisNodes::of_key(std::string_view key) noexcept {
    if (!clustered()) return all_.front().get();
    if (!mapped_) return nullptr;
    if (key.empty()) {
        const auto ready = std::find_if(all_.begin(), all_.end(),
                                        [](const auto& node) { return node->serves && node->connection.ready(); });
        return ready != all_.end() ? ready->get() : nullptr;
    }
    const std::uint8_t index = map_[cluster_slot(key)];
    if (index == kNobody) {
        refresh();
        return nullptr;
    }
    return all_[index].get();
}

RedisNode* RedisNodes::redirected(const ClusterRedirection& to, const RedisNode& said_by) {
    RedisNode* node = node_at(address_of(to.host.empty() ? host_of(said_by.address) : to.host, to.port));
    if (node == nullptr) return nullptr;
    if (!to.ask) {
        map_[to.slot] = static_cast<std::uint8_t>(node->index);
        node->serves = true;
        refresh();  // where one slot went, others follow
    }
    node->connection.wake();
    return node;
}

bool RedisNodes::any_ready() const noexcept {
    return mapped_ && std::any_of(all_.begin(), all_.end(), [this](const auto& node) {
               return (node->serves || !clustered()) && !node->stalled && node->connection.ready() != nullptr;
           });
}

bool RedisNodes::all_ready() const noexcept {
    return any_ready() && std::all_of(all_.begin(), all_.end(), [](const auto& node) {
               return !node->serves || (!node->stalled && node->connection.ready() != nullptr);
           });
}

// ---- where slots are -----------------------------------------------------------------------------------------------

void RedisNodes::refresh() noexcept {
    if (!clustered() || stopped_ || map_timer_.timer_set) return;
    const ngx_msec_t since = ngx_current_msec - asked_at_;
    ngx_add_timer(&map_timer_, asking_ || since >= kMapPauseMs ? 1 : kMapPauseMs - since);
}

void RedisNodes::on_map_time(ngx_event_t* timer) {
    auto& self = *static_cast<RedisNodes*>(timer->data);
    if (self.asking_) return;
    for (const auto& node : self.all_) {
        if (node->connection.ready() == nullptr || node->stalled) continue;
        self.ask_for_map(*node);
        return;
    }
    // Whoever left may be all that is left.
    for (const auto& node : self.all_) node->connection.wake();
}

bool RedisNodes::is_wanted(void* node_data) {
    const auto& node = *static_cast<const RedisNode*>(node_data);
    return node.serves || !node.nodes->any_ready();
}

void RedisNodes::ask_for_map(RedisNode& node) noexcept {
    asked_at_ = ngx_current_msec;
    asking_ = redisAsyncCommand(node.connection.ready(), on_map, &node, "CLUSTER SLOTS") == REDIS_OK;
}

void RedisNodes::on_map(redisAsyncContext*, void* reply_data, void* node_data) {
    auto& node = *static_cast<RedisNode*>(node_data);
    RedisNodes& self = *node.nodes;
    if (self.stopped_) return;
    self.asking_ = false;
    const auto* reply = static_cast<const redisReply*>(reply_data);
    guarded_void(self.options_.log, "slots of Redis Cluster", [&] {
        if (reply != nullptr && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0) {
            self.take_map(*reply, node);
        } else if (reply != nullptr && reply->type == REDIS_REPLY_ERROR) {
            ngx_log_error(NGX_LOG_ERR, self.options_.log, 0, "lumen: redis %s: no slots from %s: %s",
                          self.options_.purpose, node.address.c_str(), reply->str);
        }
    });
    // Somebody whose slots will be another's soon is away, or the answer did not come: asked again.
    if (!self.all_ready()) self.refresh();
}

// Ranges: first slot, last slot, master, replicas; each of these host, port, ….
void RedisNodes::take_map(const redisReply& ranges, const RedisNode& said_by) {
    std::array<std::uint8_t, kClusterSlots> map;
    map.fill(kNobody);
    for (std::size_t i = 0; i < ranges.elements; ++i) {
        const redisReply& range = *ranges.element[i];
        if (range.type != REDIS_REPLY_ARRAY || range.elements < 3) continue;
        const redisReply& master = *range.element[2];
        if (master.type != REDIS_REPLY_ARRAY || master.elements < 2) continue;
        std::string_view host = text_of(*master.element[0]);
        if (host.empty()) host = host_of(said_by.address);  // it does not know its own
        const std::string address = address_of(host, master.element[1]->integer);
        const RedisNode* node = address.empty() ? nullptr : node_at(address);
        if (node == nullptr) {
            ngx_log_error(NGX_LOG_ERR, options_.log, 0, "lumen: redis %s: node %*s of the cluster is not usable",
                          options_.purpose, host.size(), host.data());
            continue;
        }
        const long long last = std::min<long long>(range.element[1]->integer, kClusterSlots - 1);
        for (long long slot = std::max(0LL, range.element[0]->integer); slot <= last; ++slot) {
            map[static_cast<std::size_t>(slot)] = static_cast<std::uint8_t>(node->index);
        }
    }
    map_ = map;
    for (const auto& node : all_) node->serves = false;
    for (const std::uint8_t index : map_) {
        if (index != kNobody) all_[index]->serves = true;
    }
    for (const auto& node : all_) {
        if (node->serves) node->connection.wake();
    }
    const bool first = !mapped_;
    mapped_ = true;
    if (first && any_ready()) options_.on_ready(options_.owner);
}

void RedisNodes::on_node_ready(void* node_data) {
    auto& node = *static_cast<RedisNode*>(node_data);
    node.nodes->node_ready(node);
}

void RedisNodes::node_ready(RedisNode& node) noexcept {
    node.stalled = false;
    if (clustered()) refresh();
    if (mapped_) options_.on_ready(options_.owner);
}

}  // namespace lumen

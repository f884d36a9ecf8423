#include "admind/stores/redis_link.h"

#include <map>
#include <utility>

namespace lumen::admind {

namespace {

bool is_noscript(const redisReply& reply) {
    return error_text(reply).substr(0, 8) == "NOSCRIPT";
}

/// Errors of a Cluster that say that nothing was done, or that nobody is there: as good as unreachable.
bool is_away(std::string_view error) {
    return error.substr(0, kNodeAway.size()) == kNodeAway || is_cluster_pause(error) || parse_redirection(error);
}

struct Arguments {
    explicit Arguments(const std::vector<std::string_view>& command) {
        pointers.reserve(command.size());
        lengths.reserve(command.size());
        for (const std::string_view argument : command) {
            pointers.push_back(argument.data());
            lengths.push_back(argument.size());
        }
    }
    std::vector<const char*> pointers;
    std::vector<std::size_t> lengths;
};

}  // namespace

std::string_view reply_text(const redisReply* reply) noexcept {
    if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS)) return {};
    return {reply->str, static_cast<std::size_t>(reply->len)};
}

std::string master_replication_id_of(std::string_view info_replication) {
    constexpr std::string_view kField = "\nmaster_replid:";
    constexpr std::size_t kIdLength = 40;
    if (info_replication.find("\nrole:master") == std::string_view::npos) return {};
    const std::size_t at = info_replication.find(kField);
    if (at == std::string_view::npos) return {};
    return std::string(info_replication.substr(at + kField.size(), kIdLength));
}

RedisLink::RedisLink(const std::string& url, std::chrono::milliseconds timeout)
    // A malformed URL is the operator's mistake: it is said at start, not at the first call.
    : RedisLink(parse_redis_url(url), timeout) {}

RedisLink::RedisLink(const RedisAddress& address, std::chrono::milliseconds timeout) : timeout_(timeout) {
    if (address.clustered()) {
        cluster_ = std::make_unique<RedisCluster>(address, timeout);
    } else {
        server_ = std::make_unique<RedisConnection>(address, timeout, Deployment::single);
    }
}

void RedisLink::drop() noexcept {
    cluster_ ? cluster_->drop() : server_->drop();
}

std::size_t RedisLink::outstanding() const noexcept {
    return cluster_ ? cluster_->outstanding() : server_->outstanding();
}

RedisLink& RedisLink::at(Bucket bucket) noexcept {
    if (cluster_) cluster_->at(cluster_slot(bucket_key(bucket, "meta")));
    return *this;
}

void RedisLink::append(int count, const char** arguments, const std::size_t* lengths) {
    cluster_ ? cluster_->append(count, arguments, lengths) : server_->append(count, arguments, lengths);
}

RedisReply RedisLink::receive() {
    return cluster_ ? cluster_->next() : server_->receive();
}

void RedisLink::append(ScriptCall& call) {
    if (call.overflowed()) throw std::logic_error("a script call overflowed its arena");
    if (cluster_) call.send_to(Deployment::cluster);
    append(call.argc(), call.argv(), call.argv_lengths());
}

void RedisLink::append(const std::vector<std::string_view>& command) {
    Arguments arguments(command);
    append(static_cast<int>(command.size()), arguments.pointers.data(), arguments.lengths.data());
}

RedisReply RedisLink::next() {
    RedisReply reply = next_of_any();
    if (cluster_ && is_away(error_text(*reply))) throw RedisUnavailable(std::string("redis: ") + reply->str);
    return reply;
}

RedisReply RedisLink::next_of_any() {
    if (outstanding() == 0) throw RedisUnavailable("redis: the pipeline was cut");
    RedisReply reply = receive();
    if (is_noscript(*reply)) {
        drop();
        throw RedisUnavailable("redis: scripts were flushed; loading them again");
    }
    return reply;
}

/// Of what is asked alone.
RedisReply RedisLink::accepted(RedisReply reply) const {
    if (!is_error(*reply)) return reply;
    if (cluster_ && is_away(error_text(*reply))) throw RedisUnavailable(std::string("redis: ") + reply->str);
    throw RedisError(reply->str);
}

RedisReply RedisLink::command(const std::vector<std::string_view>& arguments) {
    if (outstanding() > 0) drop();
    append(arguments);
    return accepted(receive());
}

RedisReply RedisLink::blocking_command(const std::vector<std::string_view>& arguments, std::chrono::milliseconds wait) {
    const auto allow_wait = [&](std::chrono::milliseconds longer) {
        cluster_ ? cluster_->allow_wait(longer) : server_->allow_wait(longer);
    };
    if (outstanding() > 0) drop();
    append(arguments);
    allow_wait(wait);
    RedisReply reply = receive();
    allow_wait(std::chrono::milliseconds(0));
    return accepted(std::move(reply));
}

std::string RedisLink::call(ScriptCall& call) {
    if (outstanding() > 0) drop();
    append(call);
    RedisReply reply = receive();
    if (is_noscript(*reply)) {
        call.use_eval();
        append(call.argc(), call.argv(), call.argv_lengths());
        reply = receive();
    }
    return std::string(reply_text(accepted(std::move(reply)).get()));
}

std::string RedisLink::master_replication_id(Bucket bucket) {
    return master_replication_id_of(reply_text(at(bucket).command({"INFO", "replication"}).get()));
}

ReplicationIds RedisLink::replication_ids() {
    ReplicationIds ids;
    if (!cluster_) {
        ids.fill(master_replication_id(0));
        return ids;
    }
    if (outstanding() > 0) drop();
    std::map<std::size_t, std::string> of_node;
    std::array<std::size_t, kBuckets> node{};
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        node[bucket] = cluster_->node_of(cluster_slot(bucket_key(bucket, "meta")));
        if (!of_node.try_emplace(node[bucket]).second) continue;
        at(bucket).append({"INFO", "replication"});
        of_node[node[bucket]] = master_replication_id_of(reply_text(receive().get()));
    }
    for (std::size_t i = 0; i < node.size(); ++i) ids[i] = of_node[node[i]];
    return ids;
}

void RedisLink::each_master(const std::function<void(RedisLink&)>& work) {
    if (!cluster_) return work(*this);
    for (const RedisAddress& address : cluster_->masters()) {
        RedisLink master(address, timeout_);
        work(master);
    }
}

RedisPool::RedisPool(std::string url, std::size_t size, std::chrono::milliseconds timeout)
    : url_(std::move(url)), size_(size), timeout_(timeout) {
    parse_redis_url(url_);
}

RedisPool::Lease RedisPool::acquire() {
    std::unique_ptr<RedisLink> link;
    {
        std::unique_lock lock(mutex_);
        if (!freed_.wait_for(lock, timeout_, [this] { return lent_ < size_; })) {
            throw RedisUnavailable("no redis connection became free in time");
        }
        ++lent_;
        if (!idle_.empty()) {
            link = std::move(idle_.back());
            idle_.pop_back();
        }
    }
    Lease lease(*this, std::move(link));
    if (!lease.link_) lease.link_ = std::make_unique<RedisLink>(url_, timeout_);
    return lease;
}

void RedisPool::give_back(std::unique_ptr<RedisLink> link) noexcept {
    if (link && link->outstanding() > 0) link->drop();
    {
        std::lock_guard lock(mutex_);
        --lent_;
        if (link) idle_.push_back(std::move(link));
    }
    freed_.notify_one();
}

RedisPool::Lease::Lease(RedisPool& pool, std::unique_ptr<RedisLink> link) noexcept
    : pool_(&pool), link_(std::move(link)) {}

RedisPool::Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), link_(std::move(other.link_)) {}

RedisPool::Lease::~Lease() {
    if (pool_) pool_->give_back(std::move(link_));
}

}  // namespace lumen::admind

#include "admind/redis_link.h"

#include <poll.h>
#include <sys/time.h>

#include <charconv>
#include <optional>
#include <utility>

namespace lumen::admind {

namespace {

struct RedisAddress {
    std::string socket_path;  ///< unix socket; else host and port
    std::string host;
    int port = 6379;
    std::string user;
    std::string password;
    std::string database;
};

[[noreturn]] void bad_url(const char* reason) {
    throw std::invalid_argument(std::string("redis.url: ") + reason);
}

std::string percent_decoded(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned value = 0;
        if (text[i] == '%' && i + 2 < text.size() &&
            std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
            decoded += static_cast<char>(value);
            i += 2;
        } else {
            decoded += text[i];
        }
    }
    return decoded;
}

/// Takes `user:password@` (or `password@`, or `:password@`) off the front.
std::string_view take_credentials(std::string_view rest, RedisAddress& address) {
    const std::size_t at = rest.rfind('@');
    if (at == std::string_view::npos) return rest;
    const std::string_view credentials = rest.substr(0, at);
    const std::size_t colon = credentials.find(':');
    if (colon == std::string_view::npos) {
        address.password = percent_decoded(credentials);
    } else {
        address.user = percent_decoded(credentials.substr(0, colon));
        address.password = percent_decoded(credentials.substr(colon + 1));
    }
    return rest.substr(at + 1);
}

void take_host_and_port(std::string_view authority, RedisAddress& address) {
    std::size_t colon = authority.rfind(':');
    if (!authority.empty() && authority.front() == '[') {
        const std::size_t end = authority.find(']');
        if (end == std::string_view::npos) bad_url("`[` without `]`");
        address.host = std::string(authority.substr(1, end - 1));
        if (colon < end) colon = std::string_view::npos;
    } else {
        address.host = std::string(authority.substr(0, colon));
    }
    if (address.host.empty()) address.host = "127.0.0.1";
    if (colon == std::string_view::npos) return;
    const std::string_view port = authority.substr(colon + 1);
    const auto parsed = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (parsed.ec != std::errc() || parsed.ptr != port.data() + port.size()) bad_url("the port is not a number");
}

RedisAddress parse_url(std::string_view url) {
    RedisAddress address;
    if (url.substr(0, 5) == "unix:") {
        url.remove_prefix(5);
        if (url.substr(0, 2) == "//") url.remove_prefix(2);
        url = take_credentials(url, address);
        const std::size_t query = url.find("?db=");
        if (query != std::string_view::npos) address.database = std::string(url.substr(query + 4));
        address.socket_path = std::string(url.substr(0, query));
        if (address.socket_path.empty() || address.socket_path.front() != '/') bad_url("unix: needs an absolute path");
        return address;
    }
    if (url.substr(0, 8) != "redis://") bad_url("must be redis://… or unix:/…");
    url.remove_prefix(8);
    const std::size_t slash = url.find('/');
    if (slash != std::string_view::npos) address.database = std::string(url.substr(slash + 1));
    take_host_and_port(take_credentials(url.substr(0, slash), address), address);
    return address;
}

timeval as_timeval(std::chrono::milliseconds duration) {
    timeval value{};
    value.tv_sec = static_cast<time_t>(duration.count() / 1000);
    value.tv_usec = static_cast<suseconds_t>(duration.count() % 1000 * 1000);
    return value;
}

bool is_error(const redisReply& reply) {
    return reply.type == REDIS_REPLY_ERROR;
}

bool is_noscript(const redisReply& reply) {
    return is_error(reply) &&
           std::string_view(reply.str, static_cast<std::size_t>(reply.len)).substr(0, 8) == "NOSCRIPT";
}

/// An end of file (or an unasked-for byte) waits on an idle connection: the server went away since the last call.
bool went_stale(const redisContext& context) {
    pollfd readable{context.fd, POLLIN, 0};
    return ::poll(&readable, 1, 0) != 0;
}

void append_arguments(redisContext& context, const std::vector<std::string_view>& arguments) {
    std::vector<const char*> pointers;
    std::vector<std::size_t> lengths;
    pointers.reserve(arguments.size());
    lengths.reserve(arguments.size());
    for (std::string_view argument : arguments) {
        pointers.push_back(argument.data());
        lengths.push_back(argument.size());
    }
    redisAppendCommandArgv(&context, static_cast<int>(arguments.size()), pointers.data(), lengths.data());
}

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

RedisLink::RedisLink(std::string url, std::chrono::milliseconds timeout)
    : url_(std::move(url)), timeout_(timeout), context_(nullptr, &redisFree) {
    parse_url(url_);  // a malformed URL is the operator's mistake: say so at start, not at the first call
}

void RedisLink::drop() noexcept {
    context_.reset();
    outstanding_ = 0;
}

void RedisLink::fail(const char* doing) {
    std::string reason = std::string("redis: ") + doing;
    if (context_ && context_->err) reason += std::string(": ") + context_->errstr;
    drop();
    throw RedisUnavailable(reason);
}

void RedisLink::ensure_connected() {
    if (context_ && outstanding_ == 0 && went_stale(*context_)) drop();
    if (!context_) connect();
}

void RedisLink::connect() {
    const RedisAddress address = parse_url(url_);
    const timeval timeout = as_timeval(timeout_);
    context_.reset(address.socket_path.empty() ? redisConnectWithTimeout(address.host.c_str(), address.port, timeout)
                                               : redisConnectUnixWithTimeout(address.socket_path.c_str(), timeout));
    if (!context_ || context_->err) fail("cannot connect");
    if (redisSetTimeout(context_.get(), timeout) != REDIS_OK) fail("cannot set the time-out");
    std::vector<std::vector<std::string_view>> greetings;
    if (!address.user.empty()) {
        greetings.push_back({"AUTH", address.user, address.password});
    } else if (!address.password.empty()) {
        greetings.push_back({"AUTH", address.password});
    }
    if (!address.database.empty() && address.database != "0") greetings.push_back({"SELECT", address.database});
    for (int i = 0; i < kScripts; ++i) greetings.push_back({"SCRIPT", "LOAD", script_text(static_cast<Script>(i))});
    for (const auto& greeting : greetings) append_arguments(*context_, greeting);
    outstanding_ = greetings.size();
    while (outstanding_ > 0) {
        const RedisReply reply = receive();
        // -LOADING, -NOAUTH, -NOPERM: the server is there but of no use yet, which is the same to every caller.
        if (is_error(*reply)) {
            const std::string reason = std::string("redis refuses the connection: ") + reply->str;
            drop();
            throw RedisUnavailable(reason);
        }
    }
}

RedisReply RedisLink::receive() {
    void* reply = nullptr;
    if (!context_ || redisGetReply(context_.get(), &reply) != REDIS_OK || !reply) fail("no answer");
    --outstanding_;
    return RedisReply(static_cast<redisReply*>(reply), &freeReplyObject);
}

void RedisLink::append(ScriptCall& call) {
    if (call.overflowed()) throw std::logic_error("a script call overflowed its arena");
    ensure_connected();
    redisAppendCommandArgv(context_.get(), call.argc(), call.argv(), call.argv_lengths());
    ++outstanding_;
}

void RedisLink::append(const std::vector<std::string_view>& command) {
    ensure_connected();
    append_arguments(*context_, command);
    ++outstanding_;
}

RedisReply RedisLink::next() {
    if (outstanding_ == 0) throw RedisUnavailable("redis: the pipeline was cut");
    RedisReply reply = receive();
    if (is_noscript(*reply)) {
        drop();
        throw RedisUnavailable("redis: scripts were flushed; loading them again");
    }
    return reply;
}

RedisReply RedisLink::command(const std::vector<std::string_view>& arguments) {
    if (outstanding_ > 0) drop();
    append(arguments);
    RedisReply reply = receive();
    if (is_error(*reply)) throw RedisError(reply->str);
    return reply;
}

RedisReply RedisLink::blocking_command(const std::vector<std::string_view>& arguments, std::chrono::milliseconds wait) {
    if (outstanding_ > 0) drop();
    append(arguments);
    if (redisSetTimeout(context_.get(), as_timeval(timeout_ + wait)) != REDIS_OK) fail("cannot set the time-out");
    RedisReply reply = receive();
    if (redisSetTimeout(context_.get(), as_timeval(timeout_)) != REDIS_OK) fail("cannot set the time-out");
    if (is_error(*reply)) throw RedisError(reply->str);
    return reply;
}

std::string RedisLink::call(ScriptCall& call) {
    if (outstanding_ > 0) drop();
    append(call);
    RedisReply reply = receive();
    if (is_noscript(*reply)) {
        call.use_eval();
        append(call);
        reply = receive();
    }
    if (is_error(*reply)) throw RedisError(reply->str);
    return std::string(reply_text(reply.get()));
}

std::string RedisLink::master_replication_id() {
    return master_replication_id_of(reply_text(command({"INFO", "replication"}).get()));
}

RedisPool::RedisPool(std::string url, std::size_t size, std::chrono::milliseconds timeout)
    : url_(std::move(url)), size_(size), timeout_(timeout) {
    parse_url(url_);
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

#include "admind/stores/redis_connection.h"

#include <poll.h>
#include <sys/time.h>

#include <utility>

namespace lumen::admind {

namespace {

timeval as_timeval(std::chrono::milliseconds duration) {
    timeval value{};
    value.tv_sec = static_cast<time_t>(duration.count() / 1000);
    value.tv_usec = static_cast<suseconds_t>(duration.count() % 1000 * 1000);
    return value;
}

/// An end of file (or an unasked-for byte) waits on an idle connection: the server went away since the last call.
bool went_stale(const redisContext& context) {
    pollfd readable{context.fd, POLLIN, 0};
    return ::poll(&readable, 1, 0) != 0;
}

void append_arguments(redisContext& context, const std::vector<std::string_view>& arguments) {
    std::vector<const char*> pointers;
    std::vector<std::size_t> lengths;
    for (std::string_view argument : arguments) {
        pointers.push_back(argument.data());
        lengths.push_back(argument.size());
    }
    redisAppendCommandArgv(&context, static_cast<int>(arguments.size()), pointers.data(), lengths.data());
}

}  // namespace

bool is_error(const redisReply& reply) noexcept {
    return reply.type == REDIS_REPLY_ERROR;
}

std::string_view error_text(const redisReply& reply) noexcept {
    return is_error(reply) ? std::string_view(reply.str, static_cast<std::size_t>(reply.len)) : std::string_view();
}

std::string redis_command_text(int count, const char** arguments, const std::size_t* lengths) {
    char* text = nullptr;
    const auto length = redisFormatCommandArgv(&text, count, arguments, lengths);
    if (length < 0) throw std::bad_alloc();
    std::string command(text, static_cast<std::size_t>(length));
    redisFreeCommand(text);
    return command;
}

RedisConnection::RedisConnection(RedisAddress address, std::chrono::milliseconds timeout, Deployment deployment)
    : address_(std::move(address)), timeout_(timeout), deployment_(deployment), context_(nullptr, &redisFree) {}

void RedisConnection::drop() noexcept {
    context_.reset();
    outstanding_ = 0;
}

void RedisConnection::fail(const char* doing) {
    std::string reason = std::string("redis: ") + doing + " (" + address_.text() + ')';
    if (context_ && context_->err) reason += std::string(": ") + context_->errstr;
    drop();
    throw RedisUnavailable(reason);
}

void RedisConnection::ensure_connected() {
    if (context_ && outstanding_ == 0 && went_stale(*context_)) drop();
    if (!context_) connect();
}

void RedisConnection::connect() {
    const timeval timeout = as_timeval(timeout_);
    context_.reset(address_.socket_path.empty() ? redisConnectWithTimeout(address_.host.c_str(), address_.port, timeout)
                                                : redisConnectUnixWithTimeout(address_.socket_path.c_str(), timeout));
    if (!context_ || context_->err) fail("cannot connect");
    if (redisSetTimeout(context_.get(), timeout) != REDIS_OK) fail("cannot set the time-out");
    std::vector<std::vector<std::string_view>> greetings;
    if (!address_.user.empty()) {
        greetings.push_back({"AUTH", address_.user, address_.password});
    } else if (!address_.password.empty()) {
        greetings.push_back({"AUTH", address_.password});
    }
    if (!address_.database.empty() && address_.database != "0") greetings.push_back({"SELECT", address_.database});
    for (int i = 0; i < kScripts; ++i) {
        greetings.push_back({"SCRIPT", "LOAD", script_text(static_cast<Script>(i), deployment_)});
    }
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

void RedisConnection::append(int count, const char** arguments, const std::size_t* lengths) {
    ensure_connected();
    redisAppendCommandArgv(context_.get(), count, arguments, lengths);
    ++outstanding_;
}

void RedisConnection::append_text(std::string_view command) {
    ensure_connected();
    redisAppendFormattedCommand(context_.get(), command.data(), command.size());
    ++outstanding_;
}

RedisReply RedisConnection::receive() {
    void* reply = nullptr;
    if (!context_ || redisGetReply(context_.get(), &reply) != REDIS_OK || !reply) fail("no answer");
    --outstanding_;
    return RedisReply(static_cast<redisReply*>(reply), &freeReplyObject);
}

void RedisConnection::allow_wait(std::chrono::milliseconds wait) {
    ensure_connected();
    if (redisSetTimeout(context_.get(), as_timeval(timeout_ + wait)) != REDIS_OK) fail("cannot set the time-out");
}

}  // namespace lumen::admind

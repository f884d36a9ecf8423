#include "ngx_lumen_module/redis_connection.h"

#include <hiredis/async.h>

#include <algorithm>
#include <utility>

#include "lumen_core/ledger_protocol.h"
#include "ngx_lumen_module/redis_events.h"

namespace lumen {
namespace {

RedisConnection& connection_of(const redisAsyncContext* context) noexcept {
    return *static_cast<RedisConnection*>(context->data);
}

// "unix:/path" or "IP:port"; the directive has checked the form and resolved names.
redisAsyncContext* open_context(std::string_view address) noexcept {
    constexpr std::string_view kUnix = "unix:";
    if (address.substr(0, kUnix.size()) == kUnix) {
        return redisAsyncConnectUnix(std::string(address.substr(kUnix.size())).c_str());
    }
    const std::size_t colon = address.rfind(':');
    std::string host(address.substr(0, colon));
    if (!host.empty() && host.front() == '[') host = host.substr(1, host.size() - 2);
    const ngx_int_t port =
        ngx_atoi(reinterpret_cast<u_char*>(const_cast<char*>(address.data())) + colon + 1, address.size() - colon - 1);
    return redisAsyncConnect(host.c_str(), static_cast<int>(port));
}

// ±25 %, so that workers and hosts do not come back in step.
ngx_msec_t with_jitter(ngx_msec_t pause_ms) noexcept {
    return pause_ms * 3 / 4 + static_cast<ngx_msec_t>(ngx_random()) % (pause_ms / 2 + 1);
}

void set_timer(ngx_event_t& timer, ngx_event_handler_pt handler, void* data, ngx_log_t* log) noexcept {
    timer.handler = handler;
    timer.data = data;
    timer.log = log;
    timer.cancelable = 1;  // or a leaving worker would wait for a Redis that is away (T56)
}

}  // namespace

void RedisConnection::start(const Options& options) noexcept {
    options_ = options;
    set_timer(reconnect_timer_, on_reconnect_time, this, options.log);
    set_timer(connect_timer_, on_connect_timeout, this, options.log);
    connect();
}

void RedisConnection::stop() noexcept {
    stopped_ = true;
    ready_ = false;
    if (reconnect_timer_.timer_set) ngx_del_timer(&reconnect_timer_);
    if (connect_timer_.timer_set) ngx_del_timer(&connect_timer_);
    if (context_ != nullptr) redisAsyncFree(std::exchange(context_, nullptr));
}

void RedisConnection::connect() noexcept {
    context_ = open_context(options_.addresses[at_]);
    if (context_ == nullptr || context_->err != 0 || !attach_redis_events(context_, options_.log)) {
        ngx_log_error(NGX_LOG_WARN, options_.log, 0, "lumen: redis %s: cannot connect to %s: %s", options_.purpose,
                      address(), context_ != nullptr ? context_->errstr : "out of memory");
        if (context_ != nullptr) redisAsyncFree(std::exchange(context_, nullptr));
        lost();
        return;
    }
    context_->data = this;
    ngx_add_timer(&connect_timer_, options_.conf->redis_timeout_ms);
    redisAsyncSetDisconnectCallback(context_, on_disconnect);
    redisAsyncSetConnectCallback(context_, on_connect);
}

void RedisConnection::on_connect(const redisAsyncContext* context, int status) {
    RedisConnection& self = connection_of(context);
    if (status == REDIS_OK) {
        self.prepare();
        return;
    }
    ngx_log_error(NGX_LOG_WARN, self.options_.log, 0, "lumen: redis %s: cannot connect to %s: %s",
                  self.options_.purpose, self.address(), context->errstr);
    self.context_ = nullptr;  // hiredis frees it on return (T25)
    self.lost();
}

template <typename... Arguments>
void RedisConnection::ask(Arguments... arguments) noexcept {
    const char* argv[] = {arguments.data()...};
    const std::size_t lengths[] = {arguments.size()...};
    if (redisAsyncCommandArgv(context_, on_prepare_reply, this, static_cast<int>(sizeof...(arguments)), argv,
                              lengths) == REDIS_OK) {
        ++replies_awaited_;
    }
}

void RedisConnection::prepare() noexcept {
    const std::string_view user = view(options_.conf->redis_user);
    const std::string_view password = view(options_.conf->redis_password);
    // A silent half-open connection ends in minutes, not hours; on a unix socket this would be an error.
    if (context_->c.connection_type == REDIS_CONN_TCP) redisEnableKeepAlive(&context_->c);
    replies_awaited_ = 0;
    if (!user.empty()) {
        ask(std::string_view("AUTH"), user, password);
    } else if (!password.empty()) {
        ask(std::string_view("AUTH"), password);
    }
    if (options_.load_scripts) {
        for (int i = 0; i < kScripts; ++i) {
            ask(std::string_view("SCRIPT"), std::string_view("LOAD"),
                script_text(static_cast<Script>(i), options_.conf->deployment()));
        }
    }
    if (replies_awaited_ == 0) prepared();
}

void RedisConnection::on_prepare_reply(redisAsyncContext*, void* reply_data, void* self_data) {
    RedisConnection& self = *static_cast<RedisConnection*>(self_data);
    const auto* reply = static_cast<const redisReply*>(reply_data);
    if (reply == nullptr || self.stopped_) return;  // lost: on_disconnect follows
    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_log_error(NGX_LOG_ERR, self.options_.log, 0, "lumen: redis %s: refused to begin: %s", self.options_.purpose,
                      reply->str);
        self.drop("refused");
        return;
    }
    if (--self.replies_awaited_ == 0) self.prepared();
}

void RedisConnection::prepared() noexcept {
    if (connect_timer_.timer_set) ngx_del_timer(&connect_timer_);
    pause_ms_ = kFirstReconnectMs;
    ready_ = true;
    ngx_log_error(NGX_LOG_NOTICE, options_.log, 0, "lumen: redis %s: ready: %s", options_.purpose, address());
    options_.on_ready(options_.owner);
}

void RedisConnection::drop(const char* why) noexcept {
    if (context_ == nullptr) return;
    ngx_log_error(NGX_LOG_WARN, options_.log, 0, "lumen: redis %s: connection given up: %s", options_.purpose, why);
    ready_ = false;
    redisAsyncContext* context = std::exchange(context_, nullptr);
    const bool connected = (context->c.flags & REDIS_CONNECTED) != 0;
    redisAsyncFree(context);  // on_disconnect comes from in there,
    if (!connected) lost();   // but only for what was once connected
}

void RedisConnection::on_disconnect(const redisAsyncContext* context, int status) {
    RedisConnection& self = connection_of(context);
    if (self.stopped_) return;
    if (status != REDIS_OK) {
        ngx_log_error(NGX_LOG_WARN, self.options_.log, 0, "lumen: redis %s: connection lost: %s", self.options_.purpose,
                      context->errstr);
    }
    self.context_ = nullptr;
    self.lost();
}

void RedisConnection::lost() noexcept {
    ready_ = false;
    if (connect_timer_.timer_set) ngx_del_timer(&connect_timer_);
    at_ = (at_ + 1) % options_.addresses.size();
    ngx_add_timer(&reconnect_timer_, with_jitter(pause_ms_));
    pause_ms_ = std::min(pause_ms_ * 2, kLongestReconnectMs);
}

void RedisConnection::on_reconnect_time(ngx_event_t* timer) {
    RedisConnection& self = *static_cast<RedisConnection*>(timer->data);
    if (self.options_.is_wanted != nullptr && !self.options_.is_wanted(self.options_.owner)) {
        ngx_log_error(NGX_LOG_WARN, self.options_.log, 0, "lumen: redis %s: left alone, it serves no slot: %s",
                      self.options_.purpose, self.address());
        self.resting_ = true;
        return;
    }
    self.connect();
}

void RedisConnection::wake() noexcept {
    if (!std::exchange(resting_, false) || stopped_) return;
    pause_ms_ = kFirstReconnectMs;
    connect();
}

void RedisConnection::on_connect_timeout(ngx_event_t* timer) {
    static_cast<RedisConnection*>(timer->data)->drop("no answer in time");
}

}  // namespace lumen

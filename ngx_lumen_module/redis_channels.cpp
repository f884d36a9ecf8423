#include "ngx_lumen_module/redis_channels.h"

#include <hiredis/async.h>

#include <array>
#include <string>
#include <unordered_map>
#include <utility>

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/redis_connection.h"

namespace lumen {
namespace {

struct Channel {
    ChannelMessage on_message = nullptr;  ///< null: nobody listens any more
    void* owner = nullptr;
    bool leaving = false;  ///< UNSUBSCRIBE is under way
};

struct Channels {
    ngx_log_t* log = nullptr;
    RedisConnection connection;
    std::unordered_map<std::string, Channel> by_name;
    void (*on_back)() = nullptr;
};
Channels* channels = nullptr;

void on_reply(redisAsyncContext* context, void* reply_data, void* unused);

void ask(std::string_view verb, const std::string& channel) noexcept {
    redisAsyncContext* context = channels->connection.ready();
    if (context == nullptr) return;  // all are asked for when it is back
    const char* argv[] = {verb.data(), channel.data()};
    const std::size_t lengths[] = {verb.size(), channel.size()};
    (void)redisAsyncCommandArgv(context, on_reply, nullptr, 2, argv, lengths);
}

/// hiredis forgets a channel's callback with the answer to UNSUBSCRIBE, also one that was given to it since: so a
/// channel that is wanted again meanwhile is asked for only then.
void left(const std::string& name) {
    const auto found = channels->by_name.find(name);
    if (found == channels->by_name.end()) return;
    found->second.leaving = false;
    if (found->second.on_message == nullptr) {
        channels->by_name.erase(found);
    } else {
        ask("SUBSCRIBE", name);
    }
}

std::string_view text_of(const redisReply& reply) noexcept {
    if (reply.type != REDIS_REPLY_STRING) return {};
    return {reply.str, static_cast<std::size_t>(reply.len)};
}

void on_reply(redisAsyncContext*, void* reply_data, void*) {
    const auto* reply = static_cast<const redisReply*>(reply_data);
    if (channels == nullptr || reply == nullptr || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) return;
    guarded_void(channels->log, "message of Redis", [reply] {
        const std::string_view kind = text_of(*reply->element[0]);
        const std::string name(text_of(*reply->element[1]));
        if (kind == "unsubscribe") return left(name);
        if (kind != "message") return;
        const auto found = channels->by_name.find(name);
        if (found == channels->by_name.end() || found->second.on_message == nullptr) return;
        found->second.on_message(found->second.owner, text_of(*reply->element[2]));
    });
}

void on_ready(void*) {
    guarded_void(channels->log, "channels of Redis", [] {
        auto& by_name = channels->by_name;
        for (auto it = by_name.begin(); it != by_name.end();) {
            it->second.leaving = false;
            if (it->second.on_message == nullptr) {
                it = by_name.erase(it);
                continue;
            }
            ask("SUBSCRIBE", it->first);
            ++it;
        }
        if (channels->on_back != nullptr) channels->on_back();
    });
}

}  // namespace

void channels_init_process(const MainConf* conf, ngx_log_t* log) {
    channels = new Channels;
    channels->log = log;
    RedisConnection::Options options;
    options.conf = conf;
    // What is published anywhere in a Cluster is heard on each of its nodes.
    for (std::size_t i = 0; i < conf->redis_addresses->nelts; ++i) {
        options.addresses.emplace_back(view(static_cast<ngx_str_t*>(conf->redis_addresses->elts)[i]));
    }
    options.log = log;
    options.purpose = "subscriptions";
    options.on_ready = on_ready;
    channels->connection.start(options);
}

void channels_exit_process() noexcept {
    Channels* leaving = std::exchange(channels, nullptr);
    if (leaving == nullptr) return;
    leaving->connection.stop();
    delete leaving;
}

void subscribe(std::string_view channel, ChannelMessage on_message, void* owner) {
    if (channels == nullptr) return;
    const auto [entry, fresh] = channels->by_name.try_emplace(std::string(channel));
    entry->second.on_message = on_message;
    entry->second.owner = owner;
    if (fresh) ask("SUBSCRIBE", entry->first);
}

void unsubscribe(std::string_view channel) {
    if (channels == nullptr) return;
    const auto found = channels->by_name.find(std::string(channel));
    if (found == channels->by_name.end()) return;
    found->second.on_message = nullptr;
    if (found->second.leaving) return;
    if (channels->connection.ready() == nullptr) {
        channels->by_name.erase(found);
        return;
    }
    found->second.leaving = true;
    ask("UNSUBSCRIBE", found->first);
}

void on_channels_back(void (*callback)()) {
    if (channels != nullptr) channels->on_back = callback;
}

}  // namespace lumen

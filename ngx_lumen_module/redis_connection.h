// One connection to Redis that keeps itself up: connect, authenticate, load the scripts, and again after each loss.
#pragma once

#include <string>
#include <vector>

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/ngx.h"

struct redisAsyncContext;

namespace lumen {

inline constexpr ngx_msec_t kFirstReconnectMs = 100;
inline constexpr ngx_msec_t kLongestReconnectMs = 5'000;

class RedisConnection {
 public:
    using Notify = void (*)(void* owner);
    struct Options {
        const MainConf* conf = nullptr;
        std::vector<std::string> addresses;  ///< one, or several of which any will do: the next one after each failure
        ngx_log_t* log = nullptr;
        const char* purpose = "";  ///< for the log
        bool load_scripts = false;
        Notify on_ready = nullptr;                 ///< authenticated, scripts loaded
        bool (*is_wanted)(void* owner) = nullptr;  ///< asked when it would be made again; null: always
        void* owner = nullptr;
    };

    void start(const Options& options) noexcept;
    /// The worker leaves: closes without telling anybody.
    void stop() noexcept;
    /// Gives this connection up and makes a new one, after the usual pause.
    void drop(const char* why) noexcept;
    /// Makes a connection that was not wanted any more, and is now.
    void wake() noexcept;
    /// For commands; null unless ready. A command refused by hiredis is as good as not connected.
    redisAsyncContext* ready() const noexcept { return ready_ ? context_ : nullptr; }

 private:
    const char* address() const noexcept { return options_.addresses[at_].c_str(); }
    void connect() noexcept;
    void prepare() noexcept;
    void prepared() noexcept;
    void lost() noexcept;
    template <typename... Arguments>
    void ask(Arguments... arguments) noexcept;

    static void on_connect(const redisAsyncContext* context, int status);
    static void on_disconnect(const redisAsyncContext* context, int status);
    static void on_prepare_reply(redisAsyncContext* context, void* reply, void* self);
    static void on_reconnect_time(ngx_event_t* timer);
    static void on_connect_timeout(ngx_event_t* timer);

    Options options_;
    std::size_t at_ = 0;  ///< of the addresses
    redisAsyncContext* context_ = nullptr;
    bool ready_ = false;
    bool stopped_ = false;
    bool resting_ = false;     ///< lost, and nobody wanted it back
    int replies_awaited_ = 0;  ///< of AUTH and SCRIPT LOAD
    ngx_msec_t pause_ms_ = kFirstReconnectMs;
    ngx_event_t reconnect_timer_{};
    ngx_event_t connect_timer_{};  ///< hiredis 0.14 has no connect timeout of its own (T25)
};

}  // namespace lumen

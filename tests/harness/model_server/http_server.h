// An HTTP/1.1 server on one thread and one epoll: enough for a benchmark's upstream, and exact about when bytes leave,
// which is what slow, broken and paced answers need.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "tests/harness/model_server/http_message.h"

namespace lumen::model_server {

class HttpServer {
 public:
    using Handler = std::function<Answer(const Request&)>;

    explicit HttpServer(Handler handler);
    ~HttpServer();
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

    /// Listens on 127.0.0.1; port 0 takes a free one. The port. Throws std::system_error.
    /// Connections to a `refusable` listener are refused while set_refusing(true) holds.
    std::uint16_t listen(std::uint16_t port, bool refusable);
    void set_refusing(bool refusing);
    /// Answers that are held begin or go on now.
    void release_held();

    /// Serves until SIGTERM or SIGINT.
    void run();

    std::size_t open_connections() const noexcept { return connections_.size(); }
    /// Clients that left before their answer was complete.
    std::uint64_t aborted_answers() const noexcept { return aborted_answers_; }

 private:
    using Clock = std::chrono::steady_clock;
    enum class Phase : std::uint8_t { reading, waiting, streaming, finishing };
    struct Connection {
        int fd = -1;
        std::string input;
        std::string output;
        std::size_t written = 0;
        std::size_t events_sent = 0;
        std::string dechunked;
        Answer answer;
        Phase phase = Phase::reading;
        bool head_sent = false;
        bool keep_alive = true;
        bool chunked = false;
        bool continue_sent = false;
        bool wants_write = false;
        Clock::time_point wake{};  ///< set while in timers_
    };
    struct Listener {
        int fd = -1;
        std::uint16_t port = 0;
        bool refusable = false;
    };

    void accept_all(const Listener& listener);
    void on_readable(Connection& connection);
    void advance(Connection& connection);
    bool flush(Connection& connection);
    bool take_request(Connection& connection);
    void begin_answer(Connection& connection);
    void produce(Connection& connection);
    bool hold_stream(Connection& connection);
    bool finish(Connection& connection);
    void close_connection(Connection& connection, bool reset);
    void watch(Connection& connection, bool writes);
    void sleep_until_woken(Connection& connection, std::uint32_t ms);
    void wake_due();
    int next_wake_ms() const;

    Handler handler_;
    int epoll_ = -1;
    int signals_ = -1;
    std::uint64_t aborted_answers_ = 0;
    std::unordered_map<int, Listener> listeners_;
    std::unordered_map<int, std::unique_ptr<Connection>> connections_;
    std::set<std::pair<Clock::time_point, int>> timers_;
    std::set<int> held_;
    std::vector<Listener> refusing_;
};

}  // namespace lumen::model_server

#include "tests/harness/model_server/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

namespace lumen::model_server {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;
/// A stream is produced no further ahead of its reader than this.
constexpr std::size_t kOutputHighWater = 256 * 1024;
constexpr int kBacklog = 1024;

[[noreturn]] void throw_errno(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void add_to_epoll(int epoll, int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) throw_errno("epoll_ctl");
}

int open_listener(std::uint16_t& port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) throw_errno("socket");
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(fd, kBacklog) != 0 ||
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
        const int error = errno;
        close(fd);
        throw std::system_error(error, std::generic_category(), "cannot listen on 127.0.0.1:" + std::to_string(port));
    }
    port = ntohs(address.sin_port);
    return fd;
}

}  // namespace

HttpServer::HttpServer(Handler handler) : handler_(std::move(handler)) {
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigprocmask(SIG_BLOCK, &stops, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    signals_ = signalfd(-1, &stops, SFD_CLOEXEC);
    if (epoll_ < 0 || signals_ < 0) throw_errno("epoll_create1, signalfd");
    add_to_epoll(epoll_, signals_);
}

HttpServer::~HttpServer() {
    for (const auto& [fd, connection] : connections_) close(fd);
    for (const auto& [fd, listener] : listeners_) close(fd);
    close(signals_);
    close(epoll_);
}

std::uint16_t HttpServer::listen(std::uint16_t port, bool refusable) {
    const int fd = open_listener(port);
    add_to_epoll(epoll_, fd);
    listeners_[fd] = Listener{fd, port, refusable};
    return port;
}

void HttpServer::set_refusing(bool refusing) {
    if (refusing) {
        for (auto it = listeners_.begin(); it != listeners_.end();) {
            if (!it->second.refusable) {
                ++it;
                continue;
            }
            close(it->first);
            refusing_.push_back(it->second);
            it = listeners_.erase(it);
        }
    } else {
        for (const Listener& listener : refusing_) listen(listener.port, true);
        refusing_.clear();
    }
}

void HttpServer::release_held() {
    for (const int fd : std::exchange(held_, {})) {
        Connection& connection = *connections_.at(fd);
        if (connection.head_sent) {
            connection.answer.held_after.reset();
            connection.phase = Phase::streaming;
        } else {
            begin_answer(connection);
        }
        advance(connection);
    }
}

void HttpServer::run() {
    std::array<epoll_event, 256> events;
    while (true) {
        const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), next_wake_ms());
        if (count < 0 && errno != EINTR) throw_errno("epoll_wait");
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            if (event.data.fd == signals_) return;
            if (const auto listener = listeners_.find(event.data.fd); listener != listeners_.end()) {
                accept_all(listener->second);
            } else if (const auto found = connections_.find(event.data.fd); found != connections_.end()) {
                Connection& connection = *found->second;
                if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                    on_readable(connection);
                } else {
                    advance(connection);
                }
            }
        }
        wake_due();
    }
}

void HttpServer::accept_all(const Listener& listener) {
    while (true) {
        const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        auto connection = std::make_unique<Connection>();
        connection->fd = fd;
        add_to_epoll(epoll_, fd);
        connections_[fd] = std::move(connection);
    }
}

void HttpServer::on_readable(Connection& connection) {
    std::array<char, kReadBytes> bytes;
    const ssize_t count = read(connection.fd, bytes.data(), bytes.size());
    if (count > 0) {
        connection.input.append(bytes.data(), static_cast<std::size_t>(count));
        if (connection.input.size() <= kMaxHeadBytes + kMaxBodyBytes + kReadBytes) {
            advance(connection);
        } else {
            close_connection(connection, true);
        }
        return;
    }
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        advance(connection);
        return;
    }
    if (connection.phase != Phase::reading) ++aborted_answers_;
    close_connection(connection, false);
}

/// Does all that can be done now, until bytes, room or time are missing.
void HttpServer::advance(Connection& connection) {
    while (flush(connection)) {
        switch (connection.phase) {
            case Phase::reading:
                if (!take_request(connection)) return;
                break;
            case Phase::waiting:
                return;
            case Phase::streaming:
                produce(connection);
                break;
            case Phase::finishing:
                if (!finish(connection)) return;
                break;
        }
    }
}

/// True once nothing is left to write; false if the socket is full or the connection is gone.
bool HttpServer::flush(Connection& connection) {
    while (connection.written < connection.output.size()) {
        const ssize_t count = write(connection.fd, connection.output.data() + connection.written,
                                    connection.output.size() - connection.written);
        if (count > 0) {
            connection.written += static_cast<std::size_t>(count);
        } else if (errno == EAGAIN) {
            watch(connection, true);
            return false;
        } else if (errno != EINTR) {
            ++aborted_answers_;
            close_connection(connection, false);
            return false;
        }
    }
    connection.output.clear();
    connection.written = 0;
    watch(connection, false);
    return true;
}

/// Starts the answer to the next request; false if none is complete, or the connection is gone.
bool HttpServer::take_request(Connection& connection) {
    Request request;
    std::size_t consumed = 0;
    bool wants_continue = false;
    switch (parse_request(connection.input, request, consumed, connection.dechunked, wants_continue)) {
        case ParseResult::incomplete:
            if (!wants_continue || connection.continue_sent) return false;
            connection.continue_sent = true;
            connection.output += "HTTP/1.1 100 Continue\r\n\r\n";
            return true;
        case ParseResult::malformed:
            close_connection(connection, false);
            return false;
        case ParseResult::complete:
            break;
    }
    connection.answer = handler_(request);
    connection.keep_alive = request.keep_alive;
    connection.chunked = connection.answer.events && !request.http_1_0;
    connection.continue_sent = false;
    connection.head_sent = false;
    connection.input.erase(0, consumed);

    switch (connection.answer.ending) {
        case Ending::reset:
            close_connection(connection, true);
            return false;
        case Ending::hang:
            connection.phase = Phase::waiting;
            return true;
        case Ending::cut:
        case Ending::complete:
            break;
    }
    if (connection.answer.events && !connection.chunked) connection.keep_alive = false;
    if (connection.answer.held) {
        connection.phase = Phase::waiting;
        held_.insert(connection.fd);
    } else if (connection.answer.delay_ms > 0) {
        sleep_until_woken(connection, connection.answer.delay_ms);
    } else {
        begin_answer(connection);
    }
    return true;
}

void HttpServer::begin_answer(Connection& connection) {
    const Answer& answer = connection.answer;
    connection.head_sent = true;
    connection.events_sent = 0;
    connection.output += format_head(answer, connection.keep_alive, connection.chunked);
    if (answer.events) {
        connection.phase = Phase::streaming;
        return;
    }
    const bool cut = answer.ending == Ending::cut;
    connection.output.append(answer.body, 0, cut ? answer.body.size() / 2 : answer.body.size());
    connection.phase = Phase::finishing;
}

/// Adds events until the reader is far enough behind, time must pass, or the stream ends.
void HttpServer::produce(Connection& connection) {
    std::string event;
    do {
        if (hold_stream(connection)) return;
        event.clear();
        if (!connection.answer.events(event)) {
            if (connection.chunked && connection.answer.ending == Ending::complete) connection.output += "0\r\n\r\n";
            connection.phase = Phase::finishing;
            return;
        }
        if (connection.chunked) {
            append_chunk(connection.output, event);
        } else {
            connection.output += event;
        }
        ++connection.events_sent;
        if (connection.answer.pace_ms > 0) {
            sleep_until_woken(connection, connection.answer.pace_ms);
            return;
        }
    } while (connection.output.size() < kOutputHighWater);
}

/// True: it waits from here on for release_held().
bool HttpServer::hold_stream(Connection& connection) {
    if (!connection.answer.held_after || connection.events_sent < *connection.answer.held_after) return false;
    connection.phase = Phase::waiting;
    held_.insert(connection.fd);
    return true;
}

/// The answer has left; true if the connection goes on to its next request. A cut one breaks off unannounced.
bool HttpServer::finish(Connection& connection) {
    const bool goes_on = connection.keep_alive && connection.answer.ending != Ending::cut;
    connection.answer = Answer();
    connection.phase = Phase::reading;
    if (!goes_on) close_connection(connection, false);
    return goes_on;
}

void HttpServer::close_connection(Connection& connection, bool reset) {
    if (reset) {
        const linger at_once{1, 0};
        setsockopt(connection.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    const int fd = connection.fd;
    timers_.erase({connection.wake, fd});
    held_.erase(fd);
    close(fd);
    connections_.erase(fd);
}

void HttpServer::watch(Connection& connection, bool writes) {
    if (connection.wants_write == writes) return;
    connection.wants_write = writes;
    epoll_event event{};
    event.events = writes ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.fd = connection.fd;
    epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

void HttpServer::sleep_until_woken(Connection& connection, std::uint32_t ms) {
    connection.phase = Phase::waiting;
    connection.wake = Clock::now() + std::chrono::milliseconds(ms);
    timers_.insert({connection.wake, connection.fd});
}

void HttpServer::wake_due() {
    const Clock::time_point now = Clock::now();
    while (!timers_.empty() && timers_.begin()->first <= now) {
        const int fd = timers_.begin()->second;
        timers_.erase(timers_.begin());
        Connection& connection = *connections_.at(fd);
        if (connection.head_sent) {
            connection.phase = Phase::streaming;
        } else {
            begin_answer(connection);
        }
        advance(connection);
    }
}

/// For epoll_wait: rounded up, so that a timer is due when it returns.
int HttpServer::next_wake_ms() const {
    if (timers_.empty()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

}  // namespace lumen::model_server

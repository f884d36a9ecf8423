// Requests at a constant rate, whatever becomes of those before: each has its moment, and its latency counts from that
// moment, also when no connection was free or the machine did not let this program run (so a stall is felt by all who
// would have come meanwhile, and not by one). Says as well how late it was itself: the machine's own part in the tail.
//
//   open_loop PORT KEY RATE SECONDS CONNECTIONS < body       prints one JSON object, times in µs
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::int64_t kNsPerS = 1'000'000'000;
/// After the last moment, for what is under way.
constexpr std::int64_t kGraceNs = 10 * kNsPerS;

std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * kNsPerS + now.tv_nsec;
}

struct Connection {
    int fd = -1;
    std::int64_t due_ns = 0;  ///< of the request under way
    std::string answer;
};

int connect_to(std::uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        throw std::runtime_error("cannot connect");
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/// An answer with its length in the header is there to its end. Throws if it is no 200: a refusal is cheap.
bool is_whole(std::string& answer) {
    const std::size_t head = answer.find("\r\n\r\n");
    if (head == answer.npos) return false;
    if (answer.compare(0, 12, "HTTP/1.1 200") != 0) throw std::runtime_error("answered: " + answer.substr(0, 200));
    std::string header = answer.substr(0, head);
    std::transform(header.begin(), header.end(), header.begin(), [](unsigned char c) { return std::tolower(c); });
    constexpr std::string_view kLength = "content-length: ";
    const std::size_t at = header.find(kLength);
    if (at == header.npos) throw std::runtime_error("an answer does not say how long it is");
    return answer.size() >= head + 4 + std::strtoul(header.c_str() + at + kLength.size(), nullptr, 10);
}

class OpenLoop {
 public:
    OpenLoop(std::uint16_t port, std::string request, std::size_t connections)
        : request_(std::move(request)), epoll_(epoll_create1(EPOLL_CLOEXEC)), connections_(connections) {
        for (std::size_t i = 0; i < connections; ++i) {
            connections_[i].fd = connect_to(port);
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.u64 = i;
            epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_[i].fd, &event);
            free_.push_back(i);
        }
    }

    void run(double rate, double seconds) {
        const auto gap_ns = static_cast<std::int64_t>(static_cast<double>(kNsPerS) / rate);
        const auto count = static_cast<std::int64_t>(rate * seconds);
        const std::int64_t begin_ns = now_ns() + gap_ns;
        const std::int64_t end_ns = begin_ns + count * gap_ns + kGraceNs;
        for (std::int64_t made = 0; answered() < static_cast<std::size_t>(count);) {
            const std::int64_t now = now_ns();
            if (now > end_ns) throw std::runtime_error("not all were answered");
            for (; made < count && begin_ns + made * gap_ns <= now; ++made) {
                const std::int64_t due_ns = begin_ns + made * gap_ns;
                lateness_ns_.push_back(now - due_ns);
                waiting_.push_back(due_ns);
            }
            send_waiting();
            wait_until(made < count ? begin_ns + made * gap_ns : end_ns);
        }
    }

    void print() {
        std::printf("{\"requests\":%zu,", answered());
        print_percentiles("latency", latency_ns_);
        std::printf(",");
        print_percentiles("own_lateness", lateness_ns_);
        std::printf("}\n");
    }

 private:
    std::size_t answered() const noexcept { return latency_ns_.size(); }

    void send_waiting() {
        while (!waiting_.empty() && !free_.empty()) {
            Connection& connection = connections_[free_.back()];
            free_.pop_back();
            connection.due_ns = waiting_.front();
            waiting_.pop_front();
            if (write(connection.fd, request_.data(), request_.size()) != static_cast<ssize_t>(request_.size())) {
                throw std::runtime_error("a request could not be written");
            }
        }
    }

    void wait_until(std::int64_t due_ns) {
        const std::int64_t left_ns = std::max<std::int64_t>(due_ns - now_ns(), 0);
        const timespec timeout{left_ns / kNsPerS, left_ns % kNsPerS};
        epoll_event events[64];
        const int found = epoll_pwait2(epoll_, events, 64, &timeout, nullptr);
        if (found < 0 && errno != EINTR) throw std::runtime_error("epoll");
        for (int i = 0; i < found; ++i) take(events[i].data.u64);
    }

    void take(std::size_t index) {
        Connection& connection = connections_[index];
        char bytes[16384];
        const ssize_t got = read(connection.fd, bytes, sizeof bytes);
        if (got <= 0) throw std::runtime_error("a connection was closed");
        connection.answer.append(bytes, static_cast<std::size_t>(got));
        if (!is_whole(connection.answer)) return;
        latency_ns_.push_back(now_ns() - connection.due_ns);
        connection.answer.clear();
        free_.push_back(index);
    }

    static void print_percentiles(const char* name, std::vector<std::int64_t>& ns) {
        std::sort(ns.begin(), ns.end());
        const auto us = [&ns](double share) {
            return static_cast<double>(ns[static_cast<std::size_t>(share * static_cast<double>(ns.size() - 1))]) / 1000;
        };
        std::printf("\"%s_us\":{\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"max\":%.0f}", name, us(0.5), us(0.9), us(0.99),
                    us(1));
    }

    std::string request_;
    int epoll_;
    std::vector<Connection> connections_;
    std::vector<std::size_t> free_;
    std::deque<std::int64_t> waiting_;  ///< moments that have come while no connection was free
    std::vector<std::int64_t> latency_ns_;
    std::vector<std::int64_t> lateness_ns_;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 6) {
        std::cerr << "open_loop PORT KEY RATE SECONDS CONNECTIONS < body\n";
        return 2;
    }
    try {
        const std::string body{std::istreambuf_iterator<char>(std::cin), {}};
        const std::string request =
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            "Authorization: Bearer " +
            std::string(argv[2]) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
        OpenLoop loop(static_cast<std::uint16_t>(std::atoi(argv[1])), request, std::strtoul(argv[5], nullptr, 10));
        loop.run(std::atof(argv[3]), std::atof(argv[4]));
        loop.print();
    } catch (const std::exception& error) {
        std::cerr << "open_loop: " << error.what() << '\n';
        return 1;
    }
    return 0;
}

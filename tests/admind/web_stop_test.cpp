// A copy of admind that stops, seen by those who knock at it without a proxy in between: whoever got through is
// answered.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "admind/rest/http_server.h"
#include "tests/admind/private_admind.h"

namespace lumen::admind {
namespace {

using namespace std::chrono_literals;

constexpr auto kLongest = 60s;

/// One request on a connection of its own.
class Knock {
 public:
    explicit Knock(std::uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }
    ~Knock() { close(socket_); }
    Knock(const Knock&) = delete;
    Knock& operator=(const Knock&) = delete;

    /// "answered", "turned away" (never connected), or what broke it. `gone`: nobody listens any more, so who has not
    /// got through by now never will; the kernel would only tell a second later.
    std::string end(const std::atomic<bool>& gone) {
        for (const auto until = std::chrono::steady_clock::now() + kLongest; !is_ready(POLLOUT, 20ms);) {
            if (gone && !is_ready(POLLOUT, 0ms)) return "turned away";
            if (std::chrono::steady_clock::now() > until) return "neither connected nor refused";
        }
        int problem = 0;
        socklen_t size = sizeof problem;
        getsockopt(socket_, SOL_SOCKET, SO_ERROR, &problem, &size);
        if (problem == ECONNREFUSED) return "turned away";
        if (problem != 0) return std::string("connecting: ") + std::strerror(problem);
        constexpr std::string_view kRequest = "POST / HTTP/1.1\r\nHost: lumen\r\nContent-Length: 5\r\n\r\nhello";
        if (send(socket_, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) < 0)
            return std::string("sending: ") + std::strerror(errno);
        std::string answer;
        char chunk[1024];
        for (;;) {
            if (!is_ready(POLLIN, kLongest)) return "no answer";
            const ssize_t got = recv(socket_, chunk, sizeof chunk, 0);
            if (got < 0) return std::string("reading: ") + std::strerror(errno);
            if (got == 0) break;
            answer.append(chunk, static_cast<std::size_t>(got));
        }
        const bool whole = answer.rfind("HTTP/1.1 200", 0) == 0 && answer.find("\r\n\r\nhello") != std::string::npos;
        return whole ? "answered" : "cut off: " + answer;
    }

 private:
    bool is_ready(short events, std::chrono::milliseconds wait) const {
        pollfd look{socket_, events, 0};
        return poll(&look, 1, static_cast<int>(wait.count())) == 1;
    }

    int socket_;
};

/// What became of `clients`, each of whom knocks again and again until it is turned away by a server that stops.
std::map<std::string, int> ends_while_stopping(int clients, std::chrono::milliseconds work) {
    HttpServer server("127.0.0.1", 0, [&](const HttpRequest& request) {
        std::this_thread::sleep_for(work);
        HttpAnswer answer;
        answer.status = 200;
        answer.content_type = "text/plain";
        answer.body = request.body;
        return answer;
    });
    std::map<std::string, int> ends;
    std::mutex mutex;
    std::atomic<bool> gone{false};
    std::atomic<int> answered{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < clients; ++i) {
        threads.emplace_back([&] {
            for (std::string end; end.empty() || end == "answered";) {
                end = Knock(server.port()).end(gone);
                if (end == "answered") ++answered;
                const std::lock_guard lock(mutex);
                ++ends[end];
            }
        });
    }
    while (answered < 2 * clients) std::this_thread::sleep_for(1ms);
    server.stop();
    gone = true;
    for (std::thread& thread : threads) thread.join();
    return ends;
}

TEST(Stop, answers_everybody_who_got_through) {
    // More at once than it has threads, so that some always wait for one.
    for (int round = 0; round < 6; ++round) {
        std::map<std::string, int> ends = ends_while_stopping(64, 2ms);
        EXPECT_EQ(ends.erase("turned away"), 1u);
        EXPECT_EQ(ends.erase("answered"), 1u);
        for (const auto& [end, count] : ends) ADD_FAILURE() << count << " times: " << end;
    }
}

TEST(Stop, answers_also_those_for_whom_the_kernels_queue_had_no_room) {
    // They have connected, by their own reckoning; the server will know a second later.
    std::map<std::string, int> ends = ends_while_stopping(300, 10ms);
    EXPECT_EQ(ends.erase("turned away"), 1u);
    EXPECT_EQ(ends.erase("answered"), 1u);
    for (const auto& [end, count] : ends) ADD_FAILURE() << count << " times: " << end;
}

TEST(Stop, says_that_it_is_not_ready_and_goes_on_until_then) {
    PrivateAdmind alone("models: [{name: m, access: allowed, input_cost_per_million: 1}]\n");
    EXPECT_EQ(alone.call("GET", "/readyz", {}).body["daemon"], "ok");
    alone.daemon->leave();
    const HttpReply ready = alone.call("GET", "/readyz", {});
    EXPECT_EQ(ready.status, 503);
    EXPECT_EQ(ready.body["daemon"], "stopping");
    EXPECT_EQ(alone.call("GET", "/healthz", {}).status, 200);
    EXPECT_EQ(alone.as_operator("GET", "/api/v1/admin/models").status, 200);
    EXPECT_EQ(ready.header("connection"), "Close");
}

}  // namespace
}  // namespace lumen::admind

#include "tests/harness/redis_server.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>

namespace lumen::harness {
namespace {

constexpr auto kStartDeadline = std::chrono::seconds(30);
constexpr auto kStartPoll = std::chrono::milliseconds(5);

/// One PING over a connection of its own: true once it is answered with PONG, not with LOADING.
bool answers(const std::string& socket_path) {
    const int connection = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path.copy(address.sun_path, sizeof address.sun_path - 1);
    constexpr std::string_view kPing = "PING\r\n";
    std::array<char, 64> answer{};
    const bool answered = ::connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                          ::write(connection, kPing.data(), kPing.size()) == static_cast<ssize_t>(kPing.size()) &&
                          ::read(connection, answer.data(), answer.size()) > 0;
    ::close(connection);
    return answered && std::string_view(answer.data()).substr(0, 5) == "+PONG";
}

}  // namespace

RedisServer::RedisServer(std::vector<std::string> settings)
    : directory_("lumen-redis"), settings_(std::move(settings)) {
    start();
}

RedisServer::~RedisServer() {
    kill();
}

void RedisServer::start() {
    std::vector<std::string> command{
        "redis-server",   LUMEN_SOURCE_DIR "/packaging/redis.conf", "--port", "0", "--unixsocket", socket(), "--dir",
        directory_.path()};
    command.insert(command.end(), settings_.begin(), settings_.end());
    pid_ = start_process(command, directory_.path() + "/log");
    wait_until_ready();
}

void RedisServer::wait_until_ready() {
    const auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
    while (!answers(socket())) {
        const bool ended = has_ended(pid_);
        if (ended) pid_ = -1;
        if (ended || std::chrono::steady_clock::now() > deadline) {
            throw std::runtime_error("Redis did not start: " + text_of_file(directory_.path() + "/log"));
        }
        std::this_thread::sleep_for(kStartPoll);
    }
}

void RedisServer::end(int signal) {
    if (pid_ < 0) return;
    end_process(std::exchange(pid_, -1), signal);
}

void RedisServer::stop() {
    end(SIGTERM);
}
void RedisServer::kill() {
    end(SIGKILL);
}

}  // namespace lumen::harness

// A private Redis for tests: packaging/redis.conf on a unix socket, own directory, gone with the object.
#pragma once

#include <string>
#include <vector>

#include "tests/harness/server_process.h"

namespace lumen::harness {

/// Throws std::runtime_error with the server's log when it does not come up. Dies with the thread that started it.
class RedisServer {
 public:
    /// `settings` win over the shipped file: {"--appendfsync", "no", …}. No TCP port unless they name one.
    explicit RedisServer(std::vector<std::string> settings = {});
    ~RedisServer();
    RedisServer(const RedisServer&) = delete;
    RedisServer& operator=(const RedisServer&) = delete;

    std::string socket() const { return directory_.path() + "/redis.sock"; }
    std::string url() const { return "unix://" + socket(); }
    pid_t pid() const noexcept { return pid_; }

    /// start: blocks until it answers, its append-only file loaded. stop: SIGTERM. kill: SIGKILL. Data stays.
    void start();
    void stop();
    void kill();

 private:
    void wait_until_ready();
    void end(int signal);

    TemporaryDirectory directory_;
    std::vector<std::string> settings_;
    pid_t pid_ = -1;
};

}  // namespace lumen::harness

// A private PostgreSQL for tests: own data directory, unix socket only, gone with the object.
#pragma once

#include <sys/types.h>

#include <string>

#include "tests/harness/server_process.h"

namespace lumen::harness {

/// Throws std::runtime_error with the server's log when it does not come up. Dies with the thread that started it.
class PostgresServer {
 public:
    PostgresServer();
    ~PostgresServer();
    PostgresServer(const PostgresServer&) = delete;
    PostgresServer& operator=(const PostgresServer&) = delete;

    /// postgresql://… of a database of that name.
    std::string url(const std::string& database = "postgres") const;
    /// A new empty database, or a copy of `model`; its URL.
    std::string create_database(const std::string& name, const std::string& model = "template1");

    /// start: blocks until it answers. stop: at once, but orderly. kill: without a checkpoint. Data stays.
    void start();
    void stop();
    void kill();

 private:
    void wait_until_ready();
    void end(int signal);
    std::string log() const { return directory_.path() + "/log"; }

    TemporaryDirectory directory_;
    pid_t pid_ = -1;
};

}  // namespace lumen::harness

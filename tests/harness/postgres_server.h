// A private PostgreSQL for tests: own data directory, unix socket only, gone with the object.
#pragma once

#include <sys/types.h>

#include <string>

namespace lumen::harness {

/// Throws std::runtime_error with the server's log when it does not come up. Dies with the process that made it.
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

    /// Blocks until it answers again (start) or is gone (stop, kill -9 of the whole server).
    void start();
    void stop();
    void kill();

 private:
    void wait_until_ready();

    std::string directory_;
    pid_t pid_ = -1;
};

}  // namespace lumen::harness

#include "tests/harness/postgres_server.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <thread>
#include <vector>

namespace lumen::harness {
namespace {

constexpr auto kStartDeadline = std::chrono::seconds(30);
constexpr auto kStartPoll = std::chrono::milliseconds(20);

/// Debian keeps the servers out of PATH, one directory a version.
std::string binary(const std::string& name) {
    const std::filesystem::path versions = "/usr/lib/postgresql";
    if (std::filesystem::exists(versions)) {
        for (const auto& version : std::filesystem::directory_iterator(versions)) {
            const auto candidate = version.path() / "bin" / name;
            if (std::filesystem::exists(candidate)) return candidate;
        }
    }
    return name;
}

/// PostgreSQL refuses root. Changing the user ends the tie to our life, so it is made again.
std::vector<std::string> as_unprivileged(const std::vector<std::string>& command) {
    if (::geteuid() != 0) return command;
    std::vector<std::string> words{"setpriv",  "--pdeathsig", "KILL",     "--reuid",
                                   "www-data", "--regid",     "www-data", "--clear-groups"};
    words.insert(words.end(), command.begin(), command.end());
    return words;
}

bool succeeds(const std::vector<std::string>& command, const std::string& log) {
    int status = 0;
    const pid_t pid = start_process(as_unprivileged(command), log);
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0;
}

void run(const std::vector<std::string>& command, const std::string& log) {
    if (!succeeds(command, log)) throw std::runtime_error(command.front() + " failed: " + text_of_file(log));
}

}  // namespace

PostgresServer::PostgresServer() : directory_("lumen-pg") {
    // The server's user makes its data directory in ours.
    if (::geteuid() == 0) ::chmod(directory_.path().c_str(), 0777);
    run({binary("initdb"), "-D", directory_.path() + "/data", "-A", "trust", "-U", "lumen", "-E", "UTF8", "--locale=C",
         "--no-sync"},
        log());
    start();
}

PostgresServer::~PostgresServer() {
    kill();
}

std::string PostgresServer::url(const std::string& database) const {
    return "postgresql://lumen@/" + database + "?host=" + directory_.path();
}

std::string PostgresServer::create_database(const std::string& name, const std::string& model) {
    run({binary("createdb"), "-h", directory_.path(), "-U", "lumen", "-T", model, name}, log());
    return url(name);
}

void PostgresServer::start() {
    // fsync is for power loss, which no test causes; what a killed server had committed is in the kernel's hands.
    pid_ =
        start_process(as_unprivileged({binary("postgres"), "-D", directory_.path() + "/data", "-k", directory_.path(),
                                       "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"}),
                      log());
    wait_until_ready();
}

void PostgresServer::wait_until_ready() {
    const auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
    while (!succeeds({binary("pg_isready"), "-q", "-h", directory_.path()}, log())) {
        const bool ended = has_ended(pid_);
        if (ended) pid_ = -1;
        if (ended || std::chrono::steady_clock::now() > deadline) {
            throw std::runtime_error("PostgreSQL did not start: " + text_of_file(log()));
        }
        std::this_thread::sleep_for(kStartPoll);
    }
}

void PostgresServer::end(int signal) {
    if (pid_ < 0) return;
    end_process(pid_, signal);
    pid_ = -1;
}

void PostgresServer::stop() {
    end(SIGINT);
}

// Not SIGKILL, which would leave its children and their shared memory behind.
void PostgresServer::kill() {
    end(SIGQUIT);
}

}  // namespace lumen::harness

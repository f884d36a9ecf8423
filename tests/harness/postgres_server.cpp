#include "tests/harness/postgres_server.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

extern char** environ;

namespace lumen::harness {

namespace {

// PostgreSQL refuses to run as root; setpriv also ties its life to ours.
const std::vector<std::string> kAsUnprivileged = {"setpriv",  "--pdeathsig", "INT",      "--reuid",
                                                  "www-data", "--regid",     "www-data", "--clear-groups"};
constexpr auto kStartDeadline = std::chrono::seconds(30);

std::string binary(const std::string& name) {
    // Debian keeps the servers out of PATH, one directory a version.
    const std::filesystem::path versions = "/usr/lib/postgresql";
    if (std::filesystem::exists(versions)) {
        for (const auto& version : std::filesystem::directory_iterator(versions)) {
            const auto candidate = version.path() / "bin" / name;
            if (std::filesystem::exists(candidate)) return candidate;
        }
    }
    return name;
}

pid_t spawn(const std::vector<std::string>& command, const std::string& log) {
    std::vector<std::string> words;
    if (::geteuid() == 0) words = kAsUnprivileged;
    words.insert(words.end(), command.begin(), command.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    pid_t pid = -1;
    const int error = posix_spawnp(&pid, argv[0], &files, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (error != 0) throw std::runtime_error("cannot start " + command.front());
    return pid;
}

std::string text_of(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

void run(const std::vector<std::string>& command, const std::string& log) {
    int status = 0;
    const pid_t pid = spawn(command, log);
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0) throw std::runtime_error(command.front() + " failed: " + text_of(log));
}

std::string new_directory() {
    std::string path = "/tmp/lumen-pg-XXXXXX";
    if (!::mkdtemp(path.data())) throw std::runtime_error("cannot make a directory under /tmp");
    if (::geteuid() == 0) {
        // The server's user must be able to make its data directory here.
        ::chmod(path.c_str(), 0777);
    }
    return path;
}

}  // namespace

PostgresServer::PostgresServer() : directory_(new_directory()) {
    run({binary("initdb"), "-D", directory_ + "/data", "-A", "trust", "-U", "lumen", "-E", "UTF8", "--locale=C",
         "--no-sync"},
        directory_ + "/log");
    start();
}

PostgresServer::~PostgresServer() {
    kill();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
}

std::string PostgresServer::url(const std::string& database) const {
    return "postgresql://lumen@/" + database + "?host=" + directory_;
}

std::string PostgresServer::create_database(const std::string& name, const std::string& model) {
    run({binary("createdb"), "-h", directory_, "-U", "lumen", "-T", model, name}, directory_ + "/log");
    return url(name);
}

void PostgresServer::start() {
    // fsync is for power loss, which no test causes; what a killed server had committed is in the kernel's hands.
    pid_ = spawn({binary("postgres"), "-D", directory_ + "/data", "-k", directory_, "-c", "listen_addresses=", "-c",
                  "fsync=off", "-c", "max_connections=200"},
                 directory_ + "/log");
    wait_until_ready();
}

void PostgresServer::wait_until_ready() {
    const auto deadline = std::chrono::steady_clock::now() + kStartDeadline;
    for (;;) {
        int status = 0;
        const pid_t probe = spawn({binary("pg_isready"), "-q", "-h", directory_}, directory_ + "/log");
        while (::waitpid(probe, &status, 0) < 0 && errno == EINTR) {
        }
        if (status == 0) return;
        if (::waitpid(pid_, &status, WNOHANG) == pid_ || std::chrono::steady_clock::now() > deadline) {
            throw std::runtime_error("PostgreSQL did not start: " + text_of(directory_ + "/log"));
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

void PostgresServer::stop() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGINT);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
}

void PostgresServer::kill() {
    if (pid_ < 0) return;
    // SIGQUIT: at once, without a checkpoint, and its children too.
    ::kill(pid_, SIGQUIT);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
}

}  // namespace lumen::harness

// What starting a private server takes: a directory of its own, a process that dies with this one, a log to show.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lumen::harness {

/// A new directory under /tmp, removed with the object. Short, as a unix socket's path may have only 107 bytes.
class TemporaryDirectory {
 public:
    explicit TemporaryDirectory(const std::string& prefix);
    ~TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

    const std::string& path() const noexcept { return path_; }

 private:
    std::string path_;
};

/// Starts `command` with its output appended to `log`; it gets SIGKILL when the thread that called this ends.
pid_t start_process(const std::vector<std::string>& command, const std::string& log);

/// Sends `signal` and waits for the end.
void end_process(pid_t pid, int signal);

/// Has it ended by itself? Then it is reaped, too.
bool has_ended(pid_t pid);

std::string text_of_file(const std::string& path);

/// A TCP port of 127.0.0.1 that was free a moment ago.
std::uint16_t free_port();

}  // namespace lumen::harness

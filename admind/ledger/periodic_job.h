// A thread that does one thing again and again, reports how it goes, and ends when it is told to.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace lumen::admind {

struct JobStatus {
    std::string name;
    std::uint64_t runs = 0;
    std::uint64_t failures = 0;
    std::int64_t last_success_ms = 0;  ///< Unix time; 0: never
    std::string last_error;            ///< of the last run; empty: it succeeded
};

class PeriodicJob {
 public:
    /// `run` may throw: that is logged when it changes, reported, and tried again after `interval`.
    PeriodicJob(std::string name, std::chrono::milliseconds interval, std::function<void()> run);
    ~PeriodicJob();
    PeriodicJob(const PeriodicJob&) = delete;
    PeriodicJob& operator=(const PeriodicJob&) = delete;

    void start();
    /// Lets the run under way finish.
    void stop();
    JobStatus status() const;

 private:
    void loop();
    void run_once();

    const std::chrono::milliseconds interval_;
    const std::function<void()> run_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    bool stopping_ = false;
    JobStatus status_;
    std::thread thread_;
};

}  // namespace lumen::admind

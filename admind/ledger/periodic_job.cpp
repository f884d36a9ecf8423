#include "admind/ledger/periodic_job.h"

#include <Poco/Logger.h>

#include <utility>

namespace lumen::admind {

PeriodicJob::PeriodicJob(std::string name, std::chrono::milliseconds interval, std::function<void()> run)
    : interval_(interval), run_(std::move(run)) {
    status_.name = std::move(name);
}

PeriodicJob::~PeriodicJob() {
    stop();
}

void PeriodicJob::start() {
    thread_ = std::thread([this] { loop(); });
}

void PeriodicJob::stop() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

JobStatus PeriodicJob::status() const {
    std::lock_guard lock(mutex_);
    return status_;
}

void PeriodicJob::loop() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        lock.unlock();
        run_once();
        lock.lock();
        wake_.wait_for(lock, interval_, [this] { return stopping_; });
    }
}

void PeriodicJob::run_once() {
    std::string error;
    try {
        run_();
    } catch (const std::exception& failure) {
        error = failure.what();
        if (error.empty()) error = "failed without a reason";
    }
    std::lock_guard lock(mutex_);
    ++status_.runs;
    if (error.empty()) {
        if (!status_.last_error.empty()) {
            Poco::Logger::get(status_.name).notice("works again");
        }
        status_.last_success_ms =
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
                .count();
    } else {
        ++status_.failures;
        // Once, not every second: the same reason again is not news.
        if (error != status_.last_error) Poco::Logger::get(status_.name).error(error);
    }
    status_.last_error = std::move(error);
}

}  // namespace lumen::admind

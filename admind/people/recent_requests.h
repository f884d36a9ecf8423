// How busy each model was in the last hour and day, all accounts together; read from the book at most every 15 s,
// whoever asks.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <pqxx/pqxx>

#include "lumen_core/ids.h"

namespace lumen::admind {

class RecentRequests {
 public:
    struct Counts {
        std::int64_t hour = 0;
        std::int64_t day = 0;
    };
    /// By model; those without a request are not there. Thread-safe.
    std::map<ModelId, Counts> counts(pqxx::transaction_base& transaction);

 private:
    std::mutex mutex_;
    std::map<ModelId, Counts> counts_;
    std::chrono::steady_clock::time_point until_{};
};

}  // namespace lumen::admind

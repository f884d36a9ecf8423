// Ends holds past their deadline: their gate died, or is cut off (ledger.md 6.4).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

/// After a reconciliation the gates send their settles again first; a hold reaped before would cost a correction.
inline constexpr auto kReapAfterReady = std::chrono::seconds(60);

/// Not thread-safe; any number of processes may run one: each reap is decided by its script.
class HoldReaper {
 public:
    explicit HoldReaper(RedisLink& redis, std::chrono::milliseconds after_ready = kReapAfterReady)
        : redis_(redis), after_ready_(after_ready) {}

    /// One pass over all buckets, every 5 s. Returns how many holds it ended. Throws what Redis throws.
    std::int64_t run();

 private:
    bool old_enough(Bucket bucket, std::string_view token);
    std::int64_t reap_bucket(Bucket bucket, std::int64_t now_ms);

    struct Seen {
        std::string token;
        std::chrono::steady_clock::time_point since{};
    };
    RedisLink& redis_;
    std::chrono::milliseconds after_ready_;
    std::array<Seen, kBuckets> seen_;  ///< the ready token of each bucket, and since when this process knows it
};

}  // namespace lumen::admind

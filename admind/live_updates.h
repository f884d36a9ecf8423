// Tells open pages that an account's balance changed: PUBLISH lumen:live:<account>, at most four times a second each.
#pragma once

#include <chrono>
#include <cstdint>
#include <unordered_map>

#include "admind/redis_link.h"
#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen::admind {

inline constexpr auto kLiveInterval = std::chrono::milliseconds(250);

/// The message: {"balance":{"coins":"4.98","nano":"4980000000"},"seq":17}, what the book has after a commit.
class LiveUpdates {
 public:
    void changed(AccountId account, NanoCoins balance, std::int64_t seq);
    /// Publishes what is due. Updates are a convenience: an error of Redis drops them, and the next change brings more.
    void publish_due(RedisLink& redis);

 private:
    struct Account {
        NanoCoins balance;
        std::int64_t seq = 0;
        bool waiting = false;
        std::chrono::steady_clock::time_point last{};
    };
    std::unordered_map<AccountId, Account> accounts_;  ///< only those of the last interval
};

}  // namespace lumen::admind

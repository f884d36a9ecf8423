// Tells open pages what changed of an account: PUBLISH lumen:live:<account> (lumen_core/live_message.h). The gates,
// which hold the streams, subscribe to the accounts that somebody looks at.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "admind/ledger/book_batch.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/ids.h"
#include "lumen_core/live_message.h"

namespace lumen::admind {

inline constexpr auto kLiveInterval = std::chrono::milliseconds(250);

/// Updates are a convenience: an error of Redis drops them, and the next change brings more.
void publish_live(RedisLink& redis, AccountId account, const LiveMessage& message);

/// What is in force already, to the open pages of an account; a Redis that is away keeps nobody from it.
void tell_pages(RedisPool& redis, AccountId account, LiveEvent event);
void tell_all_pages(RedisLink& redis, LiveEvent event);

/// The book's counters after each commit of a drainer, at most four messages a second for each account.
class LiveUpdates {
 public:
    void changed(const BookedTotals& totals);
    /// Publishes what is due.
    void publish_due(RedisLink& redis);
    /// Something is held back and will be due within kLiveInterval.
    bool waiting() const noexcept { return waiting_ > 0; }

 private:
    struct Account {
        LiveTotals totals;
        std::vector<KeyTotals> keys;       ///< those that changed since the last message
        std::optional<Crossing> crossing;  ///< the last one since the last message
        bool waiting = false;
        std::chrono::steady_clock::time_point last{};
    };
    static LiveMessage message_of(Account& update);

    std::unordered_map<AccountId, Account> accounts_;  ///< only those of the last interval
    std::size_t waiting_ = 0;
};

}  // namespace lumen::admind

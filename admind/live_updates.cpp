#include "admind/live_updates.h"

#include <string>

#include "lumen_core/catalogue.h"

namespace lumen::admind {

void LiveUpdates::changed(AccountId account, NanoCoins balance, std::int64_t seq) {
    Account& update = accounts_[account];
    update.balance = balance;
    update.seq = seq;
    update.waiting = true;
}

void LiveUpdates::publish_due(RedisLink& redis) {
    const auto now = std::chrono::steady_clock::now();
    for (auto it = accounts_.begin(); it != accounts_.end();) {
        auto& [account, update] = *it;
        if (now - update.last < kLiveInterval) {
            ++it;
            continue;
        }
        if (!update.waiting) {
            it = accounts_.erase(it);
            continue;
        }
        update.waiting = false;
        update.last = now;
        redis.append({"PUBLISH", kLivePrefix + std::to_string(account),
                      R"({"balance":{"coins":")" + format_coins(update.balance) + R"(","nano":")" +
                          std::to_string(update.balance.nano()) + R"("},"seq":)" + std::to_string(update.seq) + "}"});
        ++it;
    }
    while (redis.outstanding() > 0) redis.next();
}

}  // namespace lumen::admind

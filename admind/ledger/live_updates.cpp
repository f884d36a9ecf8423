#include "admind/ledger/live_updates.h"

#include <algorithm>
#include <string>
#include <utility>

#include "admind/text/json.h"
#include "lumen_core/catalogue.h"

namespace lumen::admind {

namespace {

/// As a row of /me/keys.
std::string key_json(const KeyTotals& key) {
    return to_text({{"id", id_json(key.key)},
                    {"requests", key.requests},
                    {"tokens", key.tokens},
                    {"coins", coins_json(key.spent)},
                    {"last_used_at", utc_json(key.last_used_ms)}});
}

}  // namespace

void publish_live(RedisLink& redis, AccountId account, const LiveMessage& message) {
    redis.at(account_bucket(account))
        .command({"PUBLISH", kLivePrefix + std::to_string(account), live_message_text(message)});
}

void tell_pages(RedisPool& redis, AccountId account, LiveEvent event) {
    try {
        RedisPool::Lease link = redis.acquire();
        LiveMessage message;
        message.events.push_back(std::move(event));
        publish_live(*link, account, message);
    } catch (const RedisUnavailable&) {
        // Pages that come back after a gap load everything anew.
    }
}

void tell_all_pages(RedisLink& redis, LiveEvent event) {
    LiveMessage message;
    message.events.push_back(std::move(event));
    try {
        redis.command({"PUBLISH", kLiveChannel, live_message_text(message)});
    } catch (const RedisUnavailable&) {
        // As above.
    }
}

void LiveUpdates::changed(const BookedTotals& booked) {
    for (const auto& [account, totals] : booked.accounts) {
        Account& update = accounts_[account];
        update.totals = totals;
        if (!std::exchange(update.waiting, true)) ++waiting_;
    }
    for (const Crossing& crossing : booked.crossings) accounts_[crossing.account].crossing = crossing;
    for (const KeyTotals& key : booked.keys) {
        const auto found = accounts_.find(key.account);
        if (found == accounts_.end()) continue;  // nothing but lates: their correction follows
        auto& keys = found->second.keys;
        const auto known = std::find_if(keys.begin(), keys.end(), [&](const KeyTotals& k) { return k.key == key.key; });
        if (known != keys.end()) {
            *known = key;
        } else if (keys.size() <= kMaxLiveEvents) {
            keys.push_back(key);
        }
    }
}

LiveMessage LiveUpdates::message_of(Account& update) {
    LiveMessage message;
    message.totals = update.totals;
    if (update.crossing) {
        message.events.push_back({LiveEventKind::notice, to_text(crossing_json(*update.crossing))});
        update.crossing.reset();
    }
    const std::size_t room = kMaxLiveEvents - message.events.size();
    if (update.keys.size() > room) {
        message.events.push_back({LiveEventKind::key, "{}"});  // too many to name: the page loads them again
    } else {
        for (const KeyTotals& key : update.keys) message.events.push_back({LiveEventKind::key, key_json(key)});
    }
    update.keys.clear();
    return message;
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
        --waiting_;
        update.last = now;
        redis.at(account_bucket(account))
            .append({"PUBLISH", kLivePrefix + std::to_string(account), live_message_text(message_of(update))});
        ++it;
    }
    while (redis.outstanding() > 0) redis.next_of_any();
}

}  // namespace lumen::admind

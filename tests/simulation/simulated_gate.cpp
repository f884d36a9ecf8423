#include "tests/simulation/simulated_gate.h"

#include <algorithm>

namespace lumen::simulation {

namespace {

constexpr std::int64_t kTtlMs = 90'000;

std::string word_of(const std::string& reply) {
    return reply.substr(0, reply.find(' '));
}
std::string last_word_of(const std::string& reply) {
    return reply.substr(reply.rfind(' ') + 1);
}

}  // namespace

std::optional<std::string> Wire::send(const Call& call) {
    if (down) return std::nullopt;
    if (reliable) return call(*redis_);
    switch (random_() % 20) {
        case 0:
            return std::nullopt;
        case 1:
            call(*redis_);
            return std::nullopt;
        case 2:
            late_.push_back(call);
            return std::nullopt;
        case 3:
            call(*redis_);
            return call(*redis_);
        default:
            return call(*redis_);
    }
}

void Wire::deliver_one() {
    if (late_.empty() || down) return;
    const std::size_t i = random_() % late_.size();
    const Call call = late_[i];
    late_.erase(late_.begin() + static_cast<std::ptrdiff_t>(i));
    call(*redis_);
}

std::string SimulatedGate::begin(const RequestId& id, AccountId account, KeyId key, std::int64_t hold) {
    const auto reply = wire_.send([=](SimulatedRedis& redis) {
        AdmitArguments arguments;
        arguments.request = id;
        arguments.identity = {account, key, 1, 0};
        arguments.hold = NanoCoins(hold);
        arguments.ttl_ms = kTtlMs;
        arguments.blob = "-";
        return redis.model.admit(arguments);
    });
    const std::string word = reply ? word_of(*reply) : "";
    if (word != "OK" && !word.empty()) return word;
    Slot slot;
    slot.id = id;
    slot.account = account;
    slot.key = key;
    slot.hold = hold;
    const std::string name(id.view());
    told[name] = {account, key, std::nullopt, hold};
    if (word.empty()) {
        // 503 to the client, and a void for the hold that may have been placed.
        end(slot, std::nullopt);
    }
    slots_[name] = slot;
    return word;
}

void SimulatedGate::end(Slot& slot, std::optional<std::int64_t> cost) {
    slot.state = State::settle;
    slot.is_void = !cost.has_value();
    slot.shadow = cost.value_or(0);
    told.at(std::string(slot.id.view())).cost = cost;
}

void SimulatedGate::work() {
    for (auto& [name, slot] : slots_) {
        if (slot.state != State::running || random_() % 3 > 0) continue;
        slot.shadow = std::min(slot.hold, slot.shadow + static_cast<std::int64_t>(random_() % 300));
        if (random_() % 4 == 0) {
            end(slot, random_() % 10 == 0 ? std::optional<std::int64_t>() : slot.shadow);
            continue;
        }
        if (random_() % 2 == 0) continue;
        wire_.send([id = slot.id, account = slot.account, key = slot.key, hold = slot.hold,
                    shadow = slot.shadow](SimulatedRedis& redis) {
            RenewArguments arguments;
            arguments.request = id;
            arguments.account = account;
            arguments.key = key;
            arguments.amount = NanoCoins(hold);
            arguments.shadow = NanoCoins(shadow);
            arguments.ttl_ms = kTtlMs;
            return redis.model.renew(arguments);
        });
    }
}

void SimulatedGate::settle() {
    for (auto& [name, slot] : slots_) {
        if (slot.state != State::settle) continue;
        const auto reply = wire_.send([id = slot.id, account = slot.account, key = slot.key, cost = slot.shadow,
                                       is_void = slot.is_void](SimulatedRedis& redis) {
            SettleArguments arguments;
            arguments.request = id;
            arguments.account = account;
            arguments.key = key;
            arguments.cost = NanoCoins(cost);
            arguments.is_void = is_void;
            arguments.blob = "1,1,1,1,0,0,1,0,0,0,0,1,1,1,200";
            return redis.model.settle(arguments);
        });
        if (!reply) continue;
        const std::string word = word_of(*reply);
        if (word != "OK" && word != "DUP" && word != "NONE" && word != "LATE") continue;
        slot.state = State::settled;
        slot.token = last_word_of(*reply);
        slot.waited_ms = 0;
        slot.seen_ms = 0;
    }
}

void SimulatedGate::replay(std::int64_t now_ms) {
    std::string token;
    const auto ready = wire_.send([&](SimulatedRedis& redis) { return redis.ready() ? redis.ready_token() : ""; });
    if (!ready || ready->empty()) {
        // The clock stands still: what came in between counts for nothing.
        for (auto& [name, slot] : slots_) slot.seen_ms = 0;
        return;
    }
    for (auto it = slots_.begin(); it != slots_.end();) {
        Slot& slot = it->second;
        if (slot.state != State::settled) {
            ++it;
            continue;
        }
        if (slot.token != *ready) {
            slot.state = replay_ms_ > 0 ? State::settle : slot.state;
            if (replay_ms_ == 0) {
                it = slots_.erase(it);
                continue;
            }
        } else {
            if (slot.seen_ms > 0) slot.waited_ms += now_ms - slot.seen_ms;
            slot.seen_ms = now_ms;
            if (slot.waited_ms >= replay_ms_) {
                it = slots_.erase(it);
                continue;
            }
        }
        ++it;
    }
}

void SimulatedGate::crash() {
    for (auto& [name, slot] : slots_) {
        if (slot.state == State::running) end(slot, slot.shadow > 0 ? std::optional(slot.shadow) : std::nullopt);
    }
}

void SimulatedGate::finish_all() {
    for (auto& [name, slot] : slots_) {
        if (slot.state == State::running) end(slot, slot.shadow);
    }
}

}  // namespace lumen::simulation

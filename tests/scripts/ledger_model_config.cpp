// The model's configuration and rebuild calls: set_account, set_key, begin_rebuild, load_account, mark_ready.
#include <algorithm>

#include "tests/scripts/ledger_model.h"

namespace lumen::testing {
namespace {

using Wide = __int128;

bool in_range(std::int64_t number) {
    return number >= 0 && number <= kMaxAmount.nano();
}

bool is_valid(const Limits& limits) {
    const auto counts = [](std::int64_t number) { return number >= 0 && number <= kMostPerRate; };
    for (const Rates& rates : {limits.requests, limits.tokens}) {
        for (const Rate& rate : rates) {
            if (!counts(rate.limit) || !counts(rate.period_s) || (rate.limit > 0 && rate.period_s == 0)) return false;
        }
    }
    return counts(limits.concurrency);
}

bool is_valid(const KeyConfig& config) {
    for (const std::int64_t number : {config.version, config.expires_at_ms, config.cap.value_or(NanoCoins{}).nano(),
                                      config.cap_window_ms, config.cap_window_end_ms}) {
        if (!in_range(number)) return false;
    }
    return is_valid(config.limits);
}

bool is_valid(const AccountConfig& config) {
    for (const std::int64_t number : {config.version, config.limit.value_or(NanoCoins{}).nano(), config.rate.nano()}) {
        if (!in_range(number)) return false;
    }
    return is_valid(config.limits);
}

}  // namespace

std::string LedgerModel::set_account(const AccountConfig& config, const Consents& consents) {
    if (!is_valid(config)) return "RANGE";
    Account& account = bucket_.accounts[config.account];
    for (const auto& [model, notice] : consents) {
        std::int32_t& stored = account.consents[model];
        stored = std::max(stored, notice);
    }
    if (config.version <= account.version) return "STALE";
    if (!account.has_money) {
        account.has_money = true;
        account.last_hour = hour();
    } else if (account.has_config && is_ready() && hour() > account.last_hour) {
        refill_wallet(config.account, account, hour());
    }
    account.has_config = true;
    account.version = config.version;
    account.config = config;
    account.scope.configure(config.limits);
    return "OK";
}

/// A rate that stays as it is keeps its time; a new one begins unused.
void LedgerModel::Scope::configure(const Limits& anew) {
    for (std::size_t i = 0; i < kRatesOfAKind; ++i) {
        if (!(anew.requests[i] == limits.requests[i])) requests_us[i] = 0;
        if (!(anew.tokens[i] == limits.tokens[i])) tokens_us[i] = 0;
    }
    limits = anew;
}

std::string LedgerModel::set_key(const KeyConfig& config) {
    return apply_key(config, nullptr);
}

std::string LedgerModel::set_key(const KeyConfig& config, const std::string& nonce, const KeyCounters& counters) {
    if (!is_valid(config)) return "RANGE";
    const auto key = bucket_.keys.find(config.key);
    if (key != bucket_.keys.end() && key->second.account != config.account) return "RANGE";
    if (bucket_.nonce != nonce) return "NONCE";
    return apply_key(config, &counters);
}

std::string LedgerModel::apply_key(const KeyConfig& config, const KeyCounters* counters) {
    if (!is_valid(config)) return "RANGE";
    const bool is_new = bucket_.keys.count(config.key) == 0;
    Key& key = bucket_.keys[config.key];
    if (!is_new && key.account != config.account) return "RANGE";
    key.account = config.account;
    const bool revoke = config.state == KeyState::revoked;
    const bool newer = config.version > key.version;
    const bool was_revoked = !is_new && key.config.state == KeyState::revoked;
    if (newer) {
        if (!is_new && config.cap) roll_window(key);
        const bool new_cap = config.cap && !key.config.cap;
        if (new_cap || (config.cap && config.cap_window_ms != key.config.cap_window_ms)) key.used = 0;
        key.has_config = true;
        key.version = config.version;
        const std::int64_t old_window_ms = key.config.cap_window_ms;
        key.config = config;
        if (config.cap) {
            key.has_cap_counts = key.has_window = true;
            key.window_end_ms = config.cap_window_end_ms;
            const Wide used = key.used;
            roll_window(key);
            key.used = used;
        } else {
            key.config.cap_window_ms = old_window_ms;
        }
        key.scope.configure(config.limits);
    }
    if (revoke || was_revoked) key.config.state = KeyState::revoked;
    if (counters) {
        key.used = counters->cap_used.nano();
        key.held = counters->cap_held.nano();
        key.has_cap_counts = key.has_cap_counts || config.cap || key.used != 0 || key.held != 0;
        key.scope.in_flight = counters->holds;
    }
    return newer || revoke || counters ? "OK" : "STALE";
}

std::string LedgerModel::begin_rebuild(const std::string& nonce) {
    bucket_.nonce = nonce;
    bucket_.ready.reset();
    return "OK";
}

std::string LedgerModel::load_account(const std::string& nonce, const LoadAccountArguments& arguments) {
    if (bucket_.nonce != nonce) return "NONCE";
    if (!in_range(arguments.held.nano())) return "RANGE";
    Account& account = bucket_.accounts[arguments.account];
    account.has_money = true;
    account.balance = arguments.balance.nano();
    account.held = arguments.held.nano();
    account.scope.in_flight = arguments.holds;
    account.seq = arguments.seq;
    account.opn = arguments.opn;
    account.last_hour = arguments.last_refill_hour;
    return "OK";
}

std::string LedgerModel::mark_ready(const std::string& nonce, const std::string& replication_id) {
    const std::string token = replication_id + ':' + nonce;
    if (bucket_.ready != token && bucket_.nonce != nonce) return "NONCE";
    if (replication_id != replication_id_) return "MOVED";
    bucket_.nonce.reset();
    bucket_.ready = token;
    return "OK";
}

void LedgerModel::reset_stream(std::int64_t bseq, const std::vector<std::string>& dropped_holds) {
    bucket_.events.clear();
    for (auto& generation : bucket_.done) generation.clear();
    for (const std::string& request : dropped_holds) bucket_.holds.erase(request);
    bucket_.bseq = bseq;
}

void LedgerModel::drop_events_up_to(std::int64_t bseq) {
    const std::int64_t first = bucket_.bseq - static_cast<std::int64_t>(bucket_.events.size()) + 1;
    const std::int64_t count = std::min(bseq - first + 1, static_cast<std::int64_t>(bucket_.events.size()));
    if (count > 0) bucket_.events.erase(bucket_.events.begin(), bucket_.events.begin() + count);
}

}  // namespace lumen::testing

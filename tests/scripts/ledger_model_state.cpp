// What must stand in Redis, as ledger.md §3 lays it out, when the model's state is right.
#include "tests/scripts/ledger_model.h"

namespace lumen::testing {
namespace {

std::string text(__int128 amount) {
    return std::to_string(static_cast<std::int64_t>(amount));
}
std::string policy_text(PolicyId policy) {
    return policy == 0 ? "-" : std::to_string(policy);
}

void put_number(std::string& bytes, std::int64_t number, int size) {
    for (int i = 0; i < size; ++i) bytes += static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i));
}

}  // namespace

/// Empty: the scope has no limits, and no such field.
std::string LedgerModel::packed_limits(const Scope& scope) {
    if (scope.limits == Limits{}) return "";
    std::string bytes;
    const auto put_rates = [&bytes](const Rates& rates, const UsedUp& used_up_us) {
        for (std::size_t i = 0; i < rates.size(); ++i) {
            put_number(bytes, rates[i].limit, 4);
            put_number(bytes, rates[i].period_s, 4);
            put_number(bytes, used_up_us[i], 7);
        }
    };
    put_rates(scope.limits.requests, scope.requests_us);
    put_rates(scope.limits.tokens, scope.tokens_us);
    put_number(bytes, scope.limits.concurrency, 4);
    return bytes;
}

LedgerModel::Fields LedgerModel::account_hash(AccountId id) const {
    Fields fields;
    const auto found = bucket_.accounts.find(id);
    if (found == bucket_.accounts.end()) return fields;
    const Account& account = found->second;
    for (const auto& [model, notice] : account.consents) fields["c:" + std::to_string(model)] = std::to_string(notice);
    if (account.has_money) {
        fields["bal"] = text(account.balance);
        fields["held"] = text(account.held);
        fields["nh"] = std::to_string(account.scope.in_flight);
        fields["seq"] = std::to_string(account.seq);
        fields["opn"] = std::to_string(account.opn);
        fields["lrh"] = std::to_string(account.last_hour);
    }
    if (account.has_config) {
        const AccountConfig& config = account.config;
        fields["ver"] = std::to_string(account.version);
        fields["lim"] = config.limit ? text(config.limit->nano()) : "";
        fields["rate"] = text(config.rate.nano());
        fields["unl"] = config.unlimited ? "1" : "0";
        fields["mode"] = config.strict ? "1" : "0";
        fields["st"] = config.active ? "1" : "2";
        fields["pol"] = policy_text(config.policy);
        if (const std::string limits = packed_limits(account.scope); !limits.empty()) fields["limits"] = limits;
    }
    return fields;
}

LedgerModel::Fields LedgerModel::key_hash(KeyId id) const {
    Fields fields;
    const auto found = bucket_.keys.find(id);
    if (found == bucket_.keys.end()) return fields;
    const Key& key = found->second;
    const KeyConfig& config = key.config;
    fields["acct"] = std::to_string(key.account);
    fields["nh"] = std::to_string(key.scope.in_flight);
    fields["last"] = std::to_string(key.last_ms);
    if (key.has_cap_counts) {
        fields["cu"] = text(key.used);
        fields["kh"] = text(key.held);
    }
    if (key.has_window) {
        fields["cl"] = std::to_string(config.cap_window_ms);
        fields["ce"] = std::to_string(key.window_end_ms);
    }
    fields["st"] = std::to_string(static_cast<int>(config.state));
    if (key.has_config) {
        fields["ver"] = std::to_string(key.version);
        fields["exp"] = std::to_string(config.expires_at_ms);
        fields["pol"] = policy_text(config.policy);
        if (config.cap) fields["cap"] = text(config.cap->nano());
        if (const std::string limits = packed_limits(key.scope); !limits.empty()) fields["limits"] = limits;
    }
    return fields;
}

LedgerModel::Fields LedgerModel::meta_hash() const {
    Fields fields;
    if (bucket_.ready) fields["ready"] = *bucket_.ready;
    if (bucket_.nonce) fields["nonce"] = *bucket_.nonce;
    if (bucket_.bseq > 0) fields["bseq"] = std::to_string(bucket_.bseq);
    if (bucket_.duplicates > 0) fields["dups"] = std::to_string(bucket_.duplicates);
    if (bucket_.rotated_ms) fields["rot"] = std::to_string(*bucket_.rotated_ms);
    return fields;
}

LedgerModel::Fields LedgerModel::holds_hash() const {
    Fields fields;
    for (const auto& [request, hold] : bucket_.holds) {
        fields[request] = text(hold.amount) + ' ' + text(hold.shadow) + ' ' + std::to_string(hold.deadline_ms) + ' ' +
                          (hold.unlimited ? 'u' : 'l') + (hold.counted ? 'c' : 'n') + ' ' +
                          std::to_string(hold.account) + ' ' + std::to_string(hold.key) + ' ' +
                          std::to_string(hold.tokens) + ' ' + hold.blob;
    }
    return fields;
}

std::pair<std::int64_t, std::int64_t> LedgerModel::sum_of_holds(AccountId account) const {
    std::pair<std::int64_t, std::int64_t> sum{0, 0};
    for (const auto& [request, hold] : bucket_.holds) {
        if (hold.account != account) continue;
        sum.first += static_cast<std::int64_t>(hold.amount);
        ++sum.second;
    }
    return sum;
}

}  // namespace lumen::testing

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

template <typename Config>
std::string rates_text(const Config& config) {
    if (config.requests_per_minute == 0 && config.tokens_per_minute == 0 && config.concurrency == 0) return "";
    return std::to_string(config.requests_per_minute) + ' ' + std::to_string(config.tokens_per_minute) + ' ' +
           std::to_string(config.concurrency);
}

}  // namespace

LedgerModel::Fields LedgerModel::account_hash(AccountId id) const {
    Fields fields;
    const auto found = bucket_.accounts.find(id);
    if (found == bucket_.accounts.end()) return fields;
    const Account& account = found->second;
    for (const auto& [model, notice] : account.consents) fields["c:" + std::to_string(model)] = std::to_string(notice);
    if (account.has_money) {
        fields["bal"] = text(account.balance);
        fields["held"] = text(account.held);
        fields["nh"] = std::to_string(account.rate.in_flight);
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
        fields["rates"] = rates_text(config);
        fields["rt"] = std::to_string(account.rate.requests_us);
        fields["tt"] = std::to_string(account.rate.tokens_us);
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
    fields["nh"] = std::to_string(key.rate.in_flight);
    fields["rt"] = std::to_string(key.rate.requests_us);
    fields["tt"] = std::to_string(key.rate.tokens_us);
    fields["cu"] = text(key.used);
    fields["kh"] = text(key.held);
    fields["last"] = std::to_string(key.last_ms);
    fields["cl"] = std::to_string(config.cap_window_ms);
    fields["ce"] = std::to_string(key.window_end_ms);
    fields["st"] = std::to_string(static_cast<int>(config.state));
    if (key.has_config) {
        fields["ver"] = std::to_string(key.version);
        fields["exp"] = std::to_string(config.expires_at_ms);
        fields["pol"] = policy_text(config.policy);
        fields["rates"] = rates_text(config);
        fields["cap"] = config.cap ? text(config.cap->nano()) : "";
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

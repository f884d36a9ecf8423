#include "tests/scripts/ledger_model.h"

#include <algorithm>
#include <initializer_list>

namespace lumen::testing {
namespace {

using Wide = __int128;

constexpr Wide kM = 4'000'000'000'000'000;
constexpr std::int64_t kRotationMs = 600'000;

std::string text(Wide number) {
    std::string digits;
    const bool negative = number < 0;
    for (Wide rest = negative ? -number : number; rest > 0 || digits.empty(); rest /= 10) {
        digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(rest % 10)));
    }
    return negative ? '-' + digits : digits;
}

std::string or_dash(std::int64_t id) {
    return id == 0 ? "-" : std::to_string(id);
}
std::string or_dash(std::string_view words) {
    return words.empty() ? "-" : std::string(words);
}

std::string join(std::initializer_list<std::string> words) {
    std::string line;
    for (const std::string& word : words) line += line.empty() ? word : ' ' + word;
    return line;
}

bool in_range(Wide number) {
    return number >= 0 && number <= kM;
}
Wide magnitude(Wide number) {
    return number < 0 ? -number : number;
}

std::int64_t floor_divided(Wide dividend, Wide divisor) {
    const Wide quotient = dividend / divisor;
    return static_cast<std::int64_t>(dividend % divisor != 0 && dividend < 0 ? quotient - 1 : quotient);
}

std::int64_t period_us(const Rate& rate) {
    return rate.period_s * 1'000'000;
}

/// What `count` of a rate take of its time.
std::int64_t taken_us(const Rate& rate, Wide count) {
    return floor_divided(count * period_us(rate), rate.limit);
}

}  // namespace

bool LedgerModel::is_ready() const {
    return bucket_.ready && bucket_.ready->substr(0, bucket_.ready->find(':')) == replication_id_;
}

bool LedgerModel::is_done(const std::string& request) const {
    return bucket_.done[0].count(request) + bucket_.done[1].count(request) > 0;
}

void LedgerModel::remember(const std::string& request, bool looks_at_age) {
    if (looks_at_age && now_ms() - bucket_.rotated_ms.value_or(0) > kRotationMs) {
        if (!bucket_.done[0].empty()) bucket_.done[1] = std::move(bucket_.done[0]);
        bucket_.done[0].clear();
        bucket_.rotated_ms = now_ms();
    }
    bucket_.done[0].insert(request);
}

void LedgerModel::append_event(std::string_view kind, AccountId account, KeyId key, Wide delta, Wide cost,
                               std::string balance, std::int64_t seq, const std::string& last_hour,
                               std::string_view request, std::int64_t opn, std::string_view blob) {
    ++bucket_.bseq;
    bucket_.events.push_back(
        join({std::string(kind), std::to_string(account), or_dash(key), text(delta), text(cost), std::move(balance),
              or_dash(seq), last_hour, std::to_string(now_ms()), or_dash(request), or_dash(opn)}) +
        ' ' + std::string(blob));
}

std::string LedgerModel::lookup(const KeyHash& hash) const {
    if (!is_ready()) return "NOTREADY";
    const auto entry = bucket_.lookups.find(std::string(key_hash_bytes(hash)));
    return entry == bucket_.lookups.end() ? "NOKEY" : "OK " + entry->second;
}

void LedgerModel::add_lookup(const KeyHash& hash, AccountId account, KeyId key) {
    bucket_.lookups[std::string(key_hash_bytes(hash))] = join({std::to_string(account), std::to_string(key)});
}

std::optional<std::string> LedgerModel::refuse_identity(const Identity& identity) {
    const auto key = bucket_.keys.find(identity.key);
    if (key == bucket_.keys.end() || key->second.account != identity.account) return "NOKEY";
    const KeyConfig& config = key->second.config;
    if (config.state != KeyState::active) return "REVOKED";
    if (config.expires_at_ms != 0 && now_ms() >= config.expires_at_ms) return "EXPIRED";
    const auto account = bucket_.accounts.find(identity.account);
    if (account == bucket_.accounts.end() || !account->second.has_config) return "NOACCT";
    if (!account->second.config.active) {
        key->second.last_ms = now_ms();
        return "DISABLED";
    }
    const PolicyId policy = account->second.config.policy;
    if (identity.account_policy == 0 || identity.account_policy != policy || identity.key_policy != config.policy) {
        return join({"POLICY", or_dash(policy), or_dash(config.policy)});
    }
    return std::nullopt;
}

std::string LedgerModel::auth(const Identity& identity) {
    if (!is_ready()) return "NOTREADY";
    if (auto refusal = refuse_identity(identity)) return *refusal;
    bucket_.keys.at(identity.key).last_ms = now_ms();
    return "OK";
}

bool LedgerModel::refill_wallet(AccountId id, Account& account, std::int64_t to_hour) {
    const std::int64_t hours = to_hour - account.last_hour;
    account.last_hour = to_hour;
    if (account.config.unlimited || !account.config.limit) return false;
    const Wide room = account.config.limit->nano() - account.balance;
    const Wide earned = static_cast<Wide>(hours) * account.config.rate.nano();
    const Wide delta = std::min({room, earned, 2 * kM});
    if (delta <= 0) return false;
    account.balance += delta;
    ++account.seq;
    append_event("refill", id, 0, delta, 0, text(account.balance), account.seq, std::to_string(to_hour), "", 0, "-");
    return true;
}

std::optional<std::string> LedgerModel::refuse_money(Account& account, AccountId id, Wide need) {
    if (account.config.unlimited) return std::nullopt;
    if (!account.config.limit) return "NOBUDGET";
    const Wide limit = account.config.limit->nano();
    const auto coins = [&] {
        return join(
            {"COINS", text(account.balance), text(account.held), text(limit), text(account.config.rate.nano())});
    };
    if (limit == 0) return coins();
    const bool strict = account.config.strict;
    const auto fits = [&] {
        const Wide free = account.balance - account.held;
        return account.balance > 0 && (strict ? free >= need : free > 0);
    };
    if (!fits() && hour() > account.last_hour) refill_wallet(id, account, hour());
    if (fits()) return std::nullopt;
    if (strict && need > std::max(limit, account.balance)) return "NEVER";
    if (account.balance <= 0 || (strict && account.balance < need)) return coins();
    return "HELD";
}

void LedgerModel::roll_window(Key& key) const {
    const std::int64_t length = key.config.cap_window_ms;
    if (length == 0 || now_ms() < key.window_end_ms) return;
    while (key.window_end_ms <= now_ms()) {
        key.window_end_ms += length * std::max<std::int64_t>(1, (now_ms() - key.window_end_ms) / length);
    }
    key.used = 0;
}

std::optional<std::string> LedgerModel::refuse_cap(const Account& account, Key& key, Wide need) {
    if (!key.config.cap) return std::nullopt;
    roll_window(key);
    const Wide cap = key.config.cap->nano();
    if (key.held + need > kM) return "RANGE";
    const bool fits = account.config.strict ? key.used + key.held + need <= cap : key.used + key.held < cap;
    if (fits) return std::nullopt;
    return join({"KEYCAP", text(cap), text(key.used), std::to_string(key.window_end_ms)});
}

std::optional<std::string> LedgerModel::take_rates(Account& account, Key& key, std::int64_t tokens) {
    const std::array<Scope*, 2> scopes{&account.scope, &key.scope};
    for (const Scope* scope : scopes) {
        if (scope->limits.concurrency > 0 && scope->in_flight >= scope->limits.concurrency) return "CONC";
    }
    struct Take {
        const char* reply;
        Rate rate;
        std::int64_t count;
        std::int64_t* used_up_us;
    };
    std::vector<Take> takes;
    for (Scope* scope : scopes) {
        for (std::size_t i = 0; i < kRatesOfAKind; ++i) {
            takes.push_back({"RPM", scope->limits.requests[i], 1, &scope->requests_us[i]});
            takes.push_back({"TPM", scope->limits.tokens[i], tokens, &scope->tokens_us[i]});
        }
    }
    takes.erase(std::remove_if(takes.begin(), takes.end(), [](const Take& take) { return take.rate.limit == 0; }),
                takes.end());
    std::int64_t wait_us = 0;
    std::string reply = "TPM";
    for (const Take& take : takes) {
        if (take.count > take.rate.limit) return "TOOLARGE";
        const std::int64_t early_us =
            std::max(*take.used_up_us, now_us) + taken_us(take.rate, take.count) - now_us - period_us(take.rate);
        if (early_us > 0 && std::string_view(take.reply) == "RPM") reply = "RPM";
        wait_us = std::max(wait_us, early_us);
    }
    if (wait_us > 0) return join({reply, std::to_string(wait_us), standing_rates(account, key)});
    for (const Take& take : takes) {
        *take.used_up_us = std::max(*take.used_up_us, now_us) + taken_us(take.rate, take.count);
    }
    return std::nullopt;
}

std::string LedgerModel::standing_rates(const Account& account, const Key& key) const {
    struct Standing {
        std::int64_t left = 0;
        std::string words = "-";
    };
    const auto narrower = [this](Standing so_far, const Rates& rates, const UsedUp& used_up_us) {
        for (std::size_t i = 0; i < rates.size(); ++i) {
            if (rates[i].limit == 0) continue;
            const std::int64_t ahead_us = std::max(used_up_us[i], now_us) - now_us;
            const Wide free_us = period_us(rates[i]) - ahead_us;
            const std::int64_t left =
                std::max<std::int64_t>(0, floor_divided(free_us * rates[i].limit, period_us(rates[i])));
            if (so_far.words != "-" && left >= so_far.left) continue;
            so_far = {left,
                      std::to_string(rates[i].limit) + '/' + std::to_string(left) + '/' + std::to_string(ahead_us)};
        }
        return so_far;
    };
    const Scope& a = account.scope;
    const Scope& k = key.scope;
    return join({narrower(narrower({}, a.limits.requests, a.requests_us), k.limits.requests, k.requests_us).words,
                 narrower(narrower({}, a.limits.tokens, a.tokens_us), k.limits.tokens, k.tokens_us).words});
}

std::string LedgerModel::granted(const Account& account, const Key& key) const {
    return join({"OK", text(account.balance), text(account.held), account.config.unlimited ? "1" : "0",
                 standing_rates(account, key)});
}

std::string LedgerModel::admit(const AdmitArguments& arguments) {
    if (!is_ready()) return "NOTREADY";
    const Identity& identity = arguments.identity;
    if (auto refusal = refuse_identity(identity)) return *refusal;
    Account& account = bucket_.accounts.at(identity.account);
    Key& key = bucket_.keys.at(identity.key);
    const std::string request(arguments.request.view());

    const auto standing = bucket_.holds.find(request);
    const auto consent = account.consents.find(arguments.consent_model);
    const bool consented = arguments.consent_model == 0 ||
                           (consent != account.consents.end() && consent->second >= arguments.consent_since);
    if (consented && standing != bucket_.holds.end() && standing->second.account == identity.account &&
        standing->second.key == identity.key) {
        return granted(account, key) + " again";
    }
    key.last_ms = now_ms();
    if (!consented) return "CONSENT";
    if (standing != bucket_.holds.end()) return "RANGE";
    if (is_done(request)) return "GONE";
    const Wide need = arguments.hold.nano();
    const auto tokens = static_cast<std::int64_t>(arguments.estimated_tokens);
    if (!in_range(need) || account.held + need > kM || magnitude(account.balance) > kM || !in_range(tokens) ||
        !in_range(arguments.ttl_ms)) {
        return "RANGE";
    }
    if (auto refusal = refuse_money(account, identity.account, need)) return *refusal;
    if (auto refusal = refuse_cap(account, key, need)) return *refusal;
    if (auto refusal = take_rates(account, key, tokens)) return *refusal;

    account.held += need;
    ++account.scope.in_flight;
    ++key.scope.in_flight;
    HoldState hold;
    hold.amount = need;
    hold.deadline_ms = now_ms() + arguments.ttl_ms;
    hold.unlimited = account.config.unlimited;
    hold.counted = key.config.cap.has_value();
    hold.account = identity.account;
    hold.key = identity.key;
    hold.tokens = tokens;
    hold.blob = arguments.blob;
    if (hold.counted) key.held += need;
    bucket_.holds[request] = hold;
    return granted(account, key);
}

void LedgerModel::end_hold(const std::string& request, const HoldState& ended, const Spent& spent) {
    const HoldState hold = ended;
    bucket_.holds.erase(request);
    Account& account = bucket_.accounts[hold.account];
    const bool charged = !spent.kind.empty();
    const auto give_back = [&](Scope& scope) {
        --scope.in_flight;
        if (!charged || !spent.tokens) return;
        for (std::size_t i = 0; i < kRatesOfAKind; ++i) {
            const Rate& rate = scope.limits.tokens[i];
            if (rate.limit == 0) continue;
            scope.tokens_us[i] =
                std::max<std::int64_t>(0, scope.tokens_us[i] + taken_us(rate, *spent.tokens - hold.tokens));
        }
    };
    account.held -= hold.amount;
    give_back(account.scope);
    if (const auto found = bucket_.keys.find(hold.key); found != bucket_.keys.end()) {
        Key& key = found->second;
        give_back(key.scope);
        if (hold.counted) key.held -= hold.amount;
        if (hold.counted && charged) {
            roll_window(key);
            key.used += spent.cost;
        }
    }
    if (!charged) return;
    const Wide delta = hold.unlimited ? 0 : -spent.cost;
    account.balance += delta;
    ++account.seq;
    append_event(spent.kind, hold.account, hold.key, delta, spent.cost, text(account.balance), account.seq,
                 std::to_string(account.last_hour), request, 0, spent.blob);
}

std::string LedgerModel::settle(const SettleArguments& arguments, bool looks_at_age) {
    if (!is_ready()) return "NOTREADY";
    const Wide cost = arguments.cost.nano();
    const auto tokens = static_cast<std::int64_t>(arguments.tokens);
    if ((!arguments.is_void && !in_range(cost)) || !in_range(tokens)) return "RANGE";
    const std::string request(arguments.request.view());
    const auto found = bucket_.holds.find(request);
    if (found == bucket_.holds.end()) {
        if (is_done(request)) {
            ++bucket_.duplicates;
            return "DUP " + *bucket_.ready;
        }
        remember(request, looks_at_age);
        if (arguments.is_void) return "NONE " + *bucket_.ready;
        const auto account = bucket_.accounts.find(arguments.account);
        const bool known = account != bucket_.accounts.end() && account->second.has_money;
        append_event("late", arguments.account, arguments.key, 0, cost, "-", 0,
                     known ? std::to_string(account->second.last_hour) : "-", request, 0, arguments.blob);
        return "LATE " + *bucket_.ready;
    }
    if (found->second.account != arguments.account || found->second.key != arguments.key) return "RANGE";
    remember(request, looks_at_age);
    end_hold(request, found->second, {arguments.is_void ? "" : "usage", cost, tokens, arguments.blob});
    const Account& account = bucket_.accounts.at(arguments.account);
    return join({"OK", text(account.balance), text(account.held), *bucket_.ready});
}

std::string LedgerModel::reap(const RequestId& id, AccountId account_id, KeyId key) {
    if (!is_ready()) return "NOTREADY";
    const std::string request(id.view());
    const auto found = bucket_.holds.find(request);
    if (found == bucket_.holds.end()) return "GONE";
    if (found->second.account != account_id || found->second.key != key) return "RANGE";
    if (now_ms() < found->second.deadline_ms) return "NOTYET";
    const std::string blob = found->second.blob;
    end_hold(request, found->second, {"reap", found->second.shadow, std::nullopt, blob});
    const Account& account = bucket_.accounts.at(account_id);
    return join({"OK", text(account.balance), text(account.held)});
}

std::string LedgerModel::renew(const RenewArguments& arguments) {
    if (!is_ready()) return "NOTREADY";
    const Wide amount = arguments.amount.nano();
    const Wide shadow = arguments.shadow.nano();
    if (!in_range(amount) || !in_range(shadow) || !in_range(arguments.ttl_ms)) return "RANGE";
    const auto found = bucket_.holds.find(std::string(arguments.request.view()));
    if (found == bucket_.holds.end()) return "GONE";
    HoldState& hold = found->second;
    if (hold.account != arguments.account || hold.key != arguments.key) return "RANGE";
    Account& account = bucket_.accounts.at(hold.account);
    const Wide increase = amount - hold.amount;
    if (account.held + increase > kM) return "RANGE";
    hold.shadow = shadow;
    hold.deadline_ms = now_ms() + arguments.ttl_ms;
    if (increase > 0 && account.config.strict && !hold.unlimited && increase > account.balance - account.held) {
        return "REFUSED";
    }
    hold.amount = amount;
    account.held += increase;
    if (hold.counted) bucket_.keys.at(hold.key).held += increase;
    return join({"OK", text(account.balance), account.config.active ? "1" : "2"});
}

std::string LedgerModel::refill(AccountId id, std::int64_t to_hour) {
    if (!is_ready()) return "NOTREADY";
    const auto found = bucket_.accounts.find(id);
    if (found == bucket_.accounts.end() || !found->second.has_config) return "NOACCT";
    if (to_hour < 0) to_hour = hour();
    if (to_hour <= found->second.last_hour) return "SAME";
    return refill_wallet(id, found->second, to_hour) ? "OK" : "FULL";
}

std::string LedgerModel::money_op(const MoneyOpArguments& arguments) {
    if (!is_ready()) return "NOTREADY";
    const auto found = bucket_.accounts.find(arguments.account);
    if (found == bucket_.accounts.end() || !found->second.has_config) return "NOACCT";
    Account& account = found->second;
    if (arguments.opn <= account.opn) return "DUP";
    if (arguments.opn > account.opn + 1) return "GAP " + std::to_string(account.opn + 1);

    const Wide amount = arguments.amount.nano();
    Wide cost = arguments.cost.nano();
    Wide delta = 0;
    bool valid = magnitude(amount) <= kM && in_range(cost);
    const char* kind = "grant";
    switch (arguments.kind) {
        case MoneyOpKind::add:
            delta = amount;
            valid = valid && magnitude(account.balance + delta) <= kM;
            break;
        case MoneyOpKind::set:
            kind = "adjust";
            delta = amount - account.balance;
            valid = valid && magnitude(account.balance) <= kM;
            break;
        case MoneyOpKind::late:
            kind = "correction";
            delta = account.config.unlimited ? 0 : amount;
            break;
    }
    if (!valid) delta = cost = 0;
    account.balance += delta;
    account.opn = arguments.opn;
    ++account.seq;
    if (const auto key = bucket_.keys.find(arguments.key);
        valid && arguments.kind == MoneyOpKind::late && key != bucket_.keys.end() && key->second.config.cap) {
        roll_window(key->second);
        key->second.used += cost;
    }
    append_event(kind, arguments.account, arguments.key, delta, cost, text(account.balance), account.seq,
                 std::to_string(account.last_hour), arguments.request, arguments.opn, or_dash(arguments.note));
    return valid ? "OK" : "RANGE";
}

}  // namespace lumen::testing

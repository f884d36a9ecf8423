#include "admind/people/account_setup.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "admind/people/settings_apply.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kAccountsPerTransaction = 500;
/// Rules can change between reading them and writing what follows from them. So whoever has written reads once more:
/// the last one to write has read the last word. Somebody else's changes are his to settle, so a few rounds are enough.
constexpr int kMaxRounds = 5;

/// Credits starting coins at the first limit above zero, and remembers that this was decided. The order makes a crash
/// in between harmless: the grant's own key moves money once (I13).
InForce give_starting_coins(const Services& services, AccountId account, const ResolvedBudget& budget) {
    InForce in_force = InForce::yes;
    if (budget.starting > NanoCoins(0)) {
        MoneyRequest grant;
        grant.account = account;
        grant.amount = budget.starting;
        grant.idem_key = "starting " + std::to_string(account);
        grant.actor = "lumen";
        grant.reason = "starting coins";
        const MoneyOutcome outcome = services.ledger.move_money(grant);
        if (outcome.result == MoneyResult::recorded) in_force = InForce::not_yet;
    }
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    transaction.exec_params0(
        "insert into account_rules (account_id, starting_done) values ($1, true)"
        " on conflict (account_id) do update set starting_done = true",
        account);
    transaction.commit();
    return in_force;
}

bool starting_is_due(const AccountRules& rules, const ResolvedBudget& budget) {
    return !rules.starting_done && budget.kind == BudgetKind::limited;
}

InForce both(InForce a, InForce b) {
    return a == InForce::yes && b == InForce::yes ? InForce::yes : InForce::not_yet;
}

struct Change {
    AccountId account = 0;
    AccountSettings settings;
    ResolvedBudget budget;
    bool starting_due = false;
};

/// What the book holds for each account now.
std::unordered_map<AccountId, AccountSettings> read_current(pqxx::transaction_base& transaction,
                                                            std::optional<AccountId> only) {
    std::unordered_map<AccountId, AccountSettings> all;
    for (const auto& row : transaction.exec_params(
             "select id, lim, rate, unlimited, mode, policy_id, request_rates, token_rates, concurrency"
             " from accounts where $1 = '' or id = nullif($1, '')::bigint",
             only ? std::to_string(*only) : std::string())) {
        AccountSettings current;
        if (!row[1].is_null()) current.limit = NanoCoins(row[1].as<std::int64_t>());
        current.rate = NanoCoins(row[2].as<std::int64_t>());
        current.unlimited = row[3].as<bool>();
        current.strict = row[4].as<int>() == 1;
        current.policy = row[5].as<PolicyId>(0);
        current.limits = limits_of(row[6], row[7], row[8]);
        all.emplace(row[0].as<AccountId>(), current);
    }
    return all;
}

bool same(const AccountSettings& a, const AccountSettings& b) {
    return a.limit == b.limit && a.rate == b.rate && a.unlimited == b.unlimited && a.strict == b.strict &&
           a.policy == b.policy && a.limits == b.limits;
}

/// The accounts that should be other than they are, with their policies made where there were none.
std::vector<Change> resolve_accounts(pqxx::transaction_base& transaction, const Settings& settings,
                                     std::optional<AccountId> only) {
    const RuleBook book = read_rule_book(transaction, settings);
    const auto current = read_current(transaction, only);
    // Thousands of accounts share a handful of policies.
    std::map<std::tuple<bool, std::vector<ModelId>, std::vector<ModelId>>, PolicyId> policies;
    const auto policy = [&](const ResolvedAccount& resolved) {
        const auto [place, fresh] =
            policies.try_emplace({resolved.budget.strict, resolved.allowed, resolved.needs_consent}, PolicyId{0});
        if (fresh) place->second = policy_of(transaction, resolved);
        return place->second;
    };
    std::vector<Change> changes;
    for (const auto& [account, rules] : read_account_rules(transaction, book, only)) {
        const ResolvedAccount resolved = resolve_account(book, rules);
        Change change{account, account_settings(book, resolved, policy(resolved)), resolved.budget,
                      starting_is_due(rules, resolved.budget)};
        const auto now = current.find(account);
        const bool differs = now != current.end() && !same(now->second, change.settings);
        if (differs || change.starting_due) changes.push_back(std::move(change));
    }
    return changes;
}

/// The site's rates, or a key's own where these are stricter. Returns the keys that changed.
std::vector<KeyId> apply_key_rates(pqxx::transaction_base& transaction, const RateSettings& rates) {
    std::vector<KeyId> changed;
    // Few keys have rates of their own, and fewer have different ones.
    for (const auto& own : transaction.exec("select distinct own_requests_per_minute, own_tokens_per_minute"
                                            " from api_keys where state <> 2 and kind = 'user'")) {
        const auto own_rate = [](const pqxx::field& field) {
            return field.is_null() ? std::nullopt : std::optional(field.as<std::int64_t>());
        };
        const Limits limits = key_limits(rates, own_rate(own[0]), own_rate(own[1]));
        for (const auto& row : transaction.exec_params(
                 "update api_keys set request_rates = $1, token_rates = $2, ver = ver + 1 where state <> 2"
                 " and kind = 'user' and (request_rates, token_rates) <> ($1, $2)"
                 " and own_requests_per_minute is not distinct from nullif($3, '')::bigint"
                 " and own_tokens_per_minute is not distinct from nullif($4, '')::bigint returning id",
                 rates_text(limits.requests), rates_text(limits.tokens), own[0].as<std::string>(""),
                 own[1].as<std::string>(""))) {
            changed.push_back(row[0].as<KeyId>());
        }
    }
    return changed;
}

NewUserResult refused(NewUserResult::Refusal refusal, std::string group = {}) {
    NewUserResult result;
    result.refusal = refusal;
    result.group = std::move(group);
    return result;
}

NewUserResult insert_user(const Services& services, const Settings& settings, PolicyId policy, const std::string& email,
                          const std::string& name, const std::vector<std::string>& groups,
                          const BeforeCommit& before_commit) {
    using Refusal = NewUserResult::Refusal;
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    keep_settings_still(transaction);
    for (const std::string& group : groups) {
        const auto found = transaction.exec_params("select 1 from groups where active and name = $1", group);
        if (found.empty()) return refused(Refusal::unknown_group, group);
    }
    if (!transaction.exec_params("select 1 from users where email = $1", email).empty()) {
        return refused(Refusal::email_taken);
    }
    AccountSettings beginning;
    beginning.policy = policy;
    NewUser made;
    made.account = insert_account(transaction, AccountOwner::user, beginning);
    try {
        made.user = transaction
                        .exec_params1("insert into users (account_id, email, name) values ($1, $2, $3) returning id",
                                      made.account, email, name)[0]
                        .as<std::int64_t>();
    } catch (const pqxx::unique_violation&) {
        return refused(Refusal::email_taken);  // somebody was quicker
    }
    for (const std::string& group : groups) {
        transaction.exec_params0(
            "insert into memberships (account_id, group_id, via)"
            " select $1, id, 'manual' from groups where name = $2 on conflict do nothing",
            made.account, group);
    }
    apply_user_settings(transaction, settings, email, made.account);
    if (before_commit) before_commit(transaction, made);
    transaction.commit();
    NewUserResult result;
    result.user = made;
    return result;
}

}  // namespace

PolicyId policy_that_blocks_all(const Services& services) {
    PolicyId policy = 0;
    {
        PgPool::Lease lease = services.postgres.acquire();
        pqxx::work transaction(*lease);
        policy = policy_of(transaction, ResolvedAccount{});
        transaction.commit();
    }
    services.publisher.ensure_published(policy);
    return policy;
}

NewUserResult create_user(const Services& services, const Settings& settings, const std::string& email,
                          const std::string& name, const std::vector<std::string>& groups,
                          const BeforeCommit& before_commit) {
    const PolicyId blocks_all = policy_that_blocks_all(services);
    NewUserResult result = insert_user(services, settings, blocks_all, email, name, groups, before_commit);
    if (result.user) result.in_force = settle_account_rules(services, settings, result.user->account);
    return result;
}

namespace {

std::vector<Change> changes_due(const Services& services, const Settings& settings, std::optional<AccountId> only) {
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    std::vector<Change> changes = resolve_accounts(transaction, settings, only);
    transaction.commit();
    return changes;
}

InForce bring_into_force(const Services& services, const Change& change) {
    services.publisher.ensure_published(change.settings.policy);
    {
        PgPool::Lease lease = services.postgres.acquire();
        pqxx::work transaction(*lease);
        update_account(transaction, change.account, change.settings);
        transaction.commit();
    }
    InForce in_force = services.ledger.enforce_account(change.account);
    if (change.starting_due) in_force = both(in_force, give_starting_coins(services, change.account, change.budget));
    return in_force;
}

void bring_into_force(const Services& services, const std::vector<Change>& changes) {
    std::vector<AccountId> changed;
    for (std::size_t begin = 0; begin < changes.size(); begin += kAccountsPerTransaction) {
        PgPool::Lease lease = services.postgres.acquire();
        pqxx::work transaction(*lease);
        const std::size_t end = std::min(begin + kAccountsPerTransaction, changes.size());
        for (std::size_t i = begin; i < end; ++i) {
            if (update_account(transaction, changes[i].account, changes[i].settings))
                changed.push_back(changes[i].account);
        }
        transaction.commit();
    }
    for (const AccountId account : changed) services.ledger.enforce_account(account);
    for (const Change& change : changes) {
        if (change.starting_due) give_starting_coins(services, change.account, change.budget);
    }
}

void settle_all_keys(const Services& services, const RateSettings& rates) {
    std::vector<KeyId> changed;
    {
        PgPool::Lease lease = services.postgres.acquire();
        pqxx::work transaction(*lease);
        changed = apply_key_rates(transaction, rates);
        transaction.commit();
    }
    for (const KeyId key : changed) services.ledger.enforce_key(key);
}

}  // namespace

InForce settle_account_rules(const Services& services, const Settings& settings, AccountId account) {
    InForce in_force = InForce::yes;
    for (int round = 0; round < kMaxRounds; ++round) {
        const std::vector<Change> changes = changes_due(services, settings, account);
        if (changes.empty()) break;
        in_force = bring_into_force(services, changes.front());
    }
    return in_force;
}

void set_user_active(pqxx::transaction_base& transaction, std::int64_t user, AccountId account, bool active) {
    set_account_active(transaction, account, active);
    transaction.exec_params0(
        "update users set active = $2,"
        " sessions_since = case when $2 then sessions_since else now() end where id = $1",
        user, active);
}

void apply_settings_everywhere(const Services& services, const Settings& settings, std::int64_t term,
                               const std::string& file_hash) {
    {
        PgPool::Lease lease = services.postgres.acquire();
        pqxx::work transaction(*lease);
        apply_settings(transaction, settings);
        transaction.exec_params0(
            "update config_generation set generation = generation + 1, file_hash = $1, applied_at = now()"
            " where file_hash <> $1",
            file_hash);
        transaction.commit();
    }
    settle_all_accounts(services, settings);
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    transaction.exec_params0("update leadership set settings_term = $1 where settings_term < $1", term);
    transaction.commit();
}

void settle_all_accounts(const Services& services, const Settings& settings) {
    for (int round = 0; round < kMaxRounds; ++round) {
        const std::vector<Change> changes = changes_due(services, settings, std::nullopt);
        // The policies are in the book now, and in the catalogue before any account names them.
        services.publisher.publish();
        if (changes.empty()) break;
        bring_into_force(services, changes);
    }
    settle_all_keys(services, settings.rates);
}

}  // namespace lumen::admind

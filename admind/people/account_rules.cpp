#include "admind/people/account_rules.h"

#include <algorithm>

#include "admind/people/policies.h"
#include "admind/stores/pg_statement.h"
#include "admind/stores/pg_values.h"

namespace lumen::admind {

namespace {

using ModelIds = std::unordered_map<std::string, ModelId>;

constexpr std::int64_t kUnlimitedMark = -2;

std::optional<AccessRule> read_access(const pqxx::field& field) {
    if (field.is_null()) return std::nullopt;
    return field.as<int>() == 1 ? AccessRule::allowed : AccessRule::blocked;
}

/// Columns max_nano, refresh_nano, starting_nano, strict.
std::optional<BudgetRule> read_budget(const pqxx::row& row) {
    const pqxx::field max = row["max_nano"];
    if (max.is_null()) return std::nullopt;
    BudgetRule rule;
    const auto nano = max.as<std::int64_t>();
    rule.kind = nano == kUnlimitedMark ? MaxKind::unlimited : nano == 0 ? MaxKind::zero : MaxKind::limited;
    if (rule.kind == MaxKind::limited) rule.max = NanoCoins(nano);
    rule.refresh = NanoCoins(row["refresh_nano"].as<std::int64_t>(0));
    rule.starting = NanoCoins(row["starting_nano"].as<std::int64_t>(0));
    rule.strict = read_flag(row["strict"]);
    return rule;
}

AccessRules rules_of(const ModelIds& ids, std::optional<AccessRule> fallback, const std::vector<std::string>& allowed,
                     const std::vector<std::string>& blocked) {
    AccessRules rules;
    rules.fallback = fallback;
    const auto add = [&](const std::vector<std::string>& names, AccessRule rule) {
        for (const std::string& name : names) {
            if (const auto id = ids.find(name); id != ids.end()) rules.models[id->second] = rule;
        }
    };
    add(allowed, AccessRule::allowed);
    add(blocked, AccessRule::blocked);  // last: blocked wins over allowed
    return rules;
}

ModelIds read_model_ids(pqxx::transaction_base& transaction) {
    ModelIds ids;
    for (const auto& row : transaction.exec("select id, name from models where not removed")) {
        ids.emplace(row[1].as<std::string>(), row[0].as<ModelId>());
    }
    return ids;
}

}  // namespace

AccessRules access_rules(pqxx::transaction_base& transaction, const AccessSettings& access) {
    return rules_of(read_model_ids(transaction), access.fallback, access.allowed, access.blocked);
}

namespace {

constexpr Statement kRulesOfModels{"rules_of_models",
                                   "select id, access, needs_ack, name from models where not removed order by id"};
constexpr Statement kRulesOfGroups{"rules_of_groups",
                                   "select id, name, active, max_nano, refresh_nano, starting_nano, strict,"
                                   " access_default, to_jsonb(allowed) allowed, to_jsonb(blocked) blocked from groups"};

}  // namespace

RuleBook read_rule_book(pqxx::transaction_base& transaction, const Settings& settings) {
    RuleBook book;
    book.site_budget = settings.default_budget;
    book.site_strict = settings.default_strict;
    book.site_access = settings.default_access;
    book.rates = settings.rates;
    for (const auto& row : exec_prepared(transaction, kRulesOfModels)) {
        const auto id = row[0].as<ModelId>();
        book.models.push_back({id, read_access(row[1]), row[2].as<bool>()});
        book.model_ids.emplace(row[3].c_str(), id);
    }
    for (const auto& row : exec_prepared(transaction, kRulesOfGroups)) {
        GroupRow group;
        group.id = row["id"].as<std::int64_t>();
        group.name = row["name"].as<std::string>();
        group.active = row["active"].as<bool>();
        group.budget = read_budget(row);
        group.strict = read_flag(row["strict"]);
        if (group.budget) group.budget->name = group.name;
        group.access = rules_of(book.model_ids, read_access(row["access_default"]), read_texts(row["allowed"]),
                                read_texts(row["blocked"]));
        book.groups.emplace(group.id, std::move(group));
    }
    return book;
}

std::unordered_map<AccountId, AccountRules> read_account_rules(pqxx::transaction_base& transaction,
                                                               const RuleBook& book, std::optional<AccountId> only) {
    const std::string one = only ? std::to_string(*only) : std::string();
    std::unordered_map<AccountId, AccountRules> all;
    for (const auto& row : transaction.exec_params(
             "select a.id, r.limits_from, r.max_nano, r.refresh_nano, r.starting_nano, r.strict,"
             " coalesce(r.starting_done, false) starting_done, r.access_default, to_jsonb(r.allowed) allowed,"
             " to_jsonb(r.blocked) blocked"
             " from accounts a left join account_rules r on r.account_id = a.id"
             " where $1 = '' or a.id = nullif($1, '')::bigint",
             one)) {
        AccountRules rules;
        rules.budget = read_budget(row);
        rules.strict = read_flag(row["strict"]);
        rules.access = rules_of(book.model_ids, read_access(row["access_default"]), read_texts(row["allowed"]),
                                read_texts(row["blocked"]));
        rules.limits_from_config = row["limits_from"].as<std::string>("") == "config";
        rules.limits_from_admin = row["limits_from"].as<std::string>("") == "admin";
        rules.starting_done = row["starting_done"].as<bool>();
        all.emplace(row["id"].as<AccountId>(), std::move(rules));
    }
    for (const auto& row : transaction.exec_params(
             "select account_id, group_id from memberships where $1 = '' or account_id = nullif($1, '')::bigint",
             one)) {
        if (const auto found = all.find(row[0].as<AccountId>()); found != all.end()) {
            found->second.groups.push_back(row[1].as<std::int64_t>());
        }
    }
    return all;
}

RulesOfAccount read_rules_of(pqxx::transaction_base& transaction, const Settings& settings, AccountId account) {
    RulesOfAccount rules{read_rule_book(transaction, settings), {}};
    rules.own = read_account_rules(transaction, rules.book, account).at(account);
    return rules;
}

namespace {

std::vector<const GroupRow*> active_groups(const RuleBook& book, const AccountRules& rules) {
    std::vector<const GroupRow*> groups;
    for (const std::int64_t id : rules.groups) {
        const auto group = book.groups.find(id);
        if (group != book.groups.end() && group->second.active) groups.push_back(&group->second);
    }
    return groups;
}

std::vector<const AccessRules*> access_of(const std::vector<const GroupRow*>& groups) {
    std::vector<const AccessRules*> rules;
    for (const GroupRow* group : groups) rules.push_back(&group->access);
    return rules;
}

}  // namespace

AccessResult resolve_model(const RuleBook& book, const AccountRules& rules, const ModelRule& model) {
    return resolve_access(rules.access, access_of(active_groups(book, rules)), model, book.site_access);
}

ResolvedBudget resolve_budget_of(const RuleBook& book, const AccountRules& rules) {
    std::vector<BudgetRule> budgets;
    for (const GroupRow* group : active_groups(book, rules)) {
        if (group->budget) budgets.push_back(*group->budget);
    }
    return resolve_budget(rules.budget, rules.strict, budgets, book.site_budget, book.site_strict);
}

ResolvedAccount resolve_account(const RuleBook& book, const AccountRules& rules) {
    const std::vector<const AccessRules*> access = access_of(active_groups(book, rules));
    ResolvedAccount resolved;
    resolved.budget = resolve_budget_of(book, rules);
    for (const ModelRule& model : book.models) {
        if (resolve_access(rules.access, access, model, book.site_access).rule == AccessRule::blocked) continue;
        (model.needs_ack ? resolved.needs_consent : resolved.allowed).push_back(model.id);
    }
    return resolved;
}

PolicyId policy_of(pqxx::transaction_base& transaction, const ResolvedAccount& resolved) {
    const std::string canonical = std::string(resolved.budget.strict ? "strict" : "soft") + sql_ids(resolved.allowed) +
                                  sql_ids(resolved.needs_consent);
    return find_or_make_policy(transaction, canonical,
                               {resolved.budget.strict, false, resolved.allowed, resolved.needs_consent, {}});
}

namespace {

lumen::Rates as_the_ledger_has_them(const std::vector<Rate>& rates) {
    lumen::Rates all;
    for (std::size_t i = 0; i < std::min(rates.size(), all.size()); ++i) {
        all[i] = {rates[i].count, rates[i].period.count()};
    }
    return all;
}

/// A key's own rate beside the site's: it tightens one by the minute, or takes a free place, or else tightens the one
/// of the shorter period to the same pace.
lumen::Rates narrowed(lumen::Rates rates, std::optional<std::int64_t> own_per_minute) {
    constexpr std::int64_t kMinuteS = 60;
    if (!own_per_minute) return rates;
    auto place = std::find_if(rates.begin(), rates.end(),
                              [](const lumen::Rate& rate) { return rate.limit > 0 && rate.period_s == kMinuteS; });
    if (place == rates.end()) {
        place = std::find_if(rates.begin(), rates.end(), [](const lumen::Rate& rate) { return rate.limit == 0; });
    }
    if (place == rates.end()) {
        place = std::min_element(rates.begin(), rates.end(),
                                 [](const lumen::Rate& a, const lumen::Rate& b) { return a.period_s < b.period_s; });
    }
    if (place->limit == 0) {
        *place = {*own_per_minute, kMinuteS};
    } else if (*own_per_minute < place->limit * kMinuteS / place->period_s) {
        place->limit = std::max<std::int64_t>(1, *own_per_minute * place->period_s / kMinuteS);
    }
    return rates;
}

}  // namespace

Limits key_limits(const RateSettings& site, std::optional<std::int64_t> own_requests_per_minute,
                  std::optional<std::int64_t> own_tokens_per_minute) {
    Limits limits;
    limits.requests = narrowed(as_the_ledger_has_them(site.requests), own_requests_per_minute);
    limits.tokens = narrowed(as_the_ledger_has_them(site.tokens), own_tokens_per_minute);
    return limits;
}

AccountSettings account_settings(const RuleBook& book, const ResolvedAccount& resolved, PolicyId policy) {
    AccountSettings settings;
    switch (resolved.budget.kind) {
        case BudgetKind::none:
            break;
        case BudgetKind::unlimited:
            settings.unlimited = true;
            break;
        case BudgetKind::blocked:
            settings.limit = NanoCoins(0);
            break;
        case BudgetKind::limited:
            settings.limit = resolved.budget.limit;
            settings.rate = resolved.budget.refresh;
            break;
    }
    settings.strict = resolved.budget.strict;
    settings.policy = policy;
    settings.limits.concurrency = book.rates.concurrency;
    return settings;
}

}  // namespace lumen::admind

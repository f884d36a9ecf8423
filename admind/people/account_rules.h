// From rules to accounts: resolves groups, own rules and defaults (lumen_core/policy.h) into what the ledger holds per
// account, and into policies, which accounts with equal verdicts share.
#pragma once

#include <cstdint>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <unordered_map>
#include <vector>

#include "admind/ledger/pg_store_ledger.h"
#include "admind/settings/settings.h"
#include "lumen_core/ids.h"
#include "lumen_core/policy.h"

namespace lumen::admind {

struct GroupRow {
    std::int64_t id = 0;
    std::string name;
    bool active = true;
    std::optional<BudgetRule> budget;
    std::optional<bool> strict;
    AccessRules access;
};

/// Everything that resolving one account needs besides the account: read once, used for many.
struct RuleBook {
    std::vector<ModelRule> models;  ///< by id; removed ones are not there
    std::unordered_map<std::string, ModelId> model_ids;
    std::unordered_map<std::int64_t, GroupRow> groups;
    BudgetRule site_budget;
    bool site_strict = false;
    AccessRule site_access = AccessRule::blocked;
    RateSettings rates;
};
RuleBook read_rule_book(pqxx::transaction_base& transaction, const Settings& settings);

/// What is said about one account itself, and which groups it is in.
struct AccountRules {
    std::optional<BudgetRule> budget;
    std::optional<bool> strict;
    AccessRules access;
    std::vector<std::int64_t> groups;
    bool limits_from_config = false;
    bool limits_from_admin = false;
    bool starting_done = false;
};
/// Rules of all accounts, or of one.
std::unordered_map<AccountId, AccountRules> read_account_rules(pqxx::transaction_base& transaction,
                                                               const RuleBook& book, std::optional<AccountId> only);

/// The rules as one account meets them.
struct RulesOfAccount {
    RuleBook book;
    AccountRules own;
};
RulesOfAccount read_rules_of(pqxx::transaction_base& transaction, const Settings& settings, AccountId account);

struct ResolvedAccount {
    ResolvedBudget budget;
    std::vector<ModelId> allowed;        ///< ascending
    std::vector<ModelId> needs_consent;  ///< ascending
};
ResolvedAccount resolve_account(const RuleBook& book, const AccountRules& rules);
ResolvedBudget resolve_budget_of(const RuleBook& book, const AccountRules& rules);
AccessResult resolve_model(const RuleBook& book, const AccountRules& rules, const ModelRule& model);

/// The policy of these verdicts; made if there is none. A new one must be published before any account names it.
PolicyId policy_of(pqxx::transaction_base& transaction, const ResolvedAccount& resolved);
AccountSettings account_settings(const RuleBook& book, const ResolvedAccount& resolved, PolicyId policy);

/// What `rate_limiting` says about a key, or the key itself where that is stricter; without concurrency.
Limits key_limits(const RateSettings& site, std::optional<std::int64_t> own_requests_per_minute = {},
                  std::optional<std::int64_t> own_tokens_per_minute = {});

/// Names of models → ids, for lists as lumen.yaml and REST write them; names nobody has are left out.
AccessRules access_rules(pqxx::transaction_base& transaction, const AccessSettings& access);

}  // namespace lumen::admind

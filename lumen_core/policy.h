// Who may use which model, and which limit an account has: the pure resolution of spec/rest.md §4 and §6.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen {

enum class AccessRule : std::uint8_t { blocked = 0, allowed = 1 };

/// What one account or one group says about models. A model both allowed and blocked in a list is blocked there.
struct AccessRules {
    std::optional<AccessRule> fallback;
    std::unordered_map<ModelId, AccessRule> models;
};

struct ModelRule {
    ModelId id = 0;
    std::optional<AccessRule> access;
    bool needs_ack = false;
};

/// Which step decided, in the order of the steps; pages and REST show it.
enum class AccessSource : std::uint8_t { own_rule, group_rule, model, group_default, own_default, site_default };
std::string_view access_source_name(AccessSource source) noexcept;

struct AccessResult {
    AccessRule rule = AccessRule::blocked;
    AccessSource source = AccessSource::site_default;
};
/// `groups`: the account's active groups.
AccessResult resolve_access(const AccessRules& own, const std::vector<const AccessRules*>& groups,
                            const ModelRule& model, AccessRule site_default);

enum class Badge : std::uint8_t { need_consent, consented, allowed, blocked };
std::string_view badge_name(Badge badge) noexcept;
Badge access_badge(AccessRule rule, bool needs_ack, bool consented) noexcept;

/// `max` as spec/config.md §4 writes it. `zero` blocks in an account's own rule and gives nothing elsewhere.
enum class MaxKind : std::uint8_t { unlimited, zero, limited };

/// What one source says about coins, complete: absent members were filled in when it was read.
struct BudgetRule {
    MaxKind kind = MaxKind::zero;
    NanoCoins max;       ///< of `limited`
    NanoCoins refresh;   ///< per hour
    NanoCoins starting;  ///< credited once
    std::optional<bool> strict;
    std::string name;  ///< of the group; breaks ties
};

enum class BudgetKind : std::uint8_t { none, unlimited, blocked, limited };

struct ResolvedBudget {
    BudgetKind kind = BudgetKind::none;
    NanoCoins limit;
    NanoCoins refresh;
    NanoCoins starting;
    bool strict = false;
    std::string source;  ///< "account", "group:NAME", "default" or "none"
};
/// Own rule, else the best group (any unlimited, else the highest (max, refresh, starting, name) as a whole), else the
/// site's, else none. `own_strict` and `site_strict` are said apart, as a mode can be given without coins.
ResolvedBudget resolve_budget(const std::optional<BudgetRule>& own, std::optional<bool> own_strict,
                              const std::vector<BudgetRule>& groups, const BudgetRule& site, bool site_strict);

}  // namespace lumen

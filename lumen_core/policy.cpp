#include "lumen_core/policy.h"

#include <algorithm>
#include <tuple>

namespace lumen {

std::string_view access_source_name(AccessSource source) noexcept {
    switch (source) {
        case AccessSource::own_rule:
            return "own_rule";
        case AccessSource::group_rule:
            return "group_rule";
        case AccessSource::model:
            return "model";
        case AccessSource::group_default:
            return "group_default";
        case AccessSource::own_default:
            return "own_default";
        case AccessSource::site_default:
            return "site_default";
    }
    return "site_default";
}

std::string_view badge_name(Badge badge) noexcept {
    switch (badge) {
        case Badge::need_consent:
            return "need_consent";
        case Badge::consented:
            return "consented";
        case Badge::allowed:
            return "allowed";
        case Badge::blocked:
            return "blocked";
    }
    return "blocked";
}

AccessResult resolve_access(const AccessRules& own, const std::vector<const AccessRules*>& groups,
                            const ModelRule& model, AccessRule site_default) {
    if (auto rule = own.models.find(model.id); rule != own.models.end()) return {rule->second, AccessSource::own_rule};

    std::optional<AccessRule> by_rule;
    std::optional<AccessRule> by_default;
    for (const AccessRules* group : groups) {
        if (auto rule = group->models.find(model.id); rule != group->models.end()) {
            // Among rules a block wins; among defaults an allow does.
            by_rule = by_rule ? std::min(*by_rule, rule->second) : rule->second;
        }
        if (group->fallback) by_default = by_default ? std::max(*by_default, *group->fallback) : *group->fallback;
    }
    if (by_rule) return {*by_rule, AccessSource::group_rule};
    if (model.access) return {*model.access, AccessSource::model};
    if (by_default) return {*by_default, AccessSource::group_default};
    if (own.fallback) return {*own.fallback, AccessSource::own_default};
    return {site_default, AccessSource::site_default};
}

Badge access_badge(AccessRule rule, bool needs_ack, bool consented) noexcept {
    if (rule == AccessRule::blocked) return Badge::blocked;
    if (!needs_ack) return Badge::allowed;
    return consented ? Badge::consented : Badge::need_consent;
}

namespace {

ResolvedBudget budget_of(const BudgetRule& rule, BudgetKind zero_means, std::string source) {
    ResolvedBudget budget;
    budget.source = std::move(source);
    switch (rule.kind) {
        case MaxKind::unlimited:
            budget.kind = BudgetKind::unlimited;
            break;
        case MaxKind::zero:
            budget.kind = zero_means;
            break;
        case MaxKind::limited:
            budget.kind = BudgetKind::limited;
            budget.limit = rule.max;
            budget.refresh = rule.refresh;
            budget.starting = rule.starting;
            break;
    }
    return budget;
}

bool better(const BudgetRule& a, const BudgetRule& b) {
    if ((a.kind == MaxKind::unlimited) != (b.kind == MaxKind::unlimited)) return a.kind == MaxKind::unlimited;
    return std::tie(a.max, a.refresh, a.starting, a.name) > std::tie(b.max, b.refresh, b.starting, b.name);
}

}  // namespace

ResolvedBudget resolve_budget(const std::optional<BudgetRule>& own, std::optional<bool> own_strict,
                              const std::vector<BudgetRule>& groups, const BudgetRule& site, bool site_strict) {
    const BudgetRule* best = nullptr;
    for (const BudgetRule& group : groups) {
        if (group.kind != MaxKind::zero && (best == nullptr || better(group, *best))) best = &group;
    }

    ResolvedBudget budget;
    std::optional<bool> source_strict;
    if (own) {
        budget = budget_of(*own, BudgetKind::blocked, "account");
    } else if (best != nullptr) {
        budget = budget_of(*best, BudgetKind::none, "group:" + best->name);
        source_strict = best->strict;
    } else if (site.kind != MaxKind::zero) {
        budget = budget_of(site, BudgetKind::none, "default");
    } else {
        budget.source = "none";
    }
    budget.strict = own_strict.value_or(source_strict.value_or(site_strict));
    return budget;
}

}  // namespace lumen

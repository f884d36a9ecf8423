// The truth table of spec/rest.md §4, row by row, and the order of limits of §6.
#include "lumen_core/policy.h"

#include <gtest/gtest.h>

#include <string>

namespace lumen {
namespace {

using Rule = std::optional<AccessRule>;
constexpr auto A = AccessRule::allowed;
constexpr auto B = AccessRule::blocked;
const Rule none;
constexpr ModelId kModel = 7;

struct AccessRow {
    const char* name;
    Rule own_rule;
    std::vector<Rule> group_rules;
    Rule model_access;
    std::vector<Rule> group_defaults;
    Rule own_default;
    AccessRule site_default;
    bool needs_ack;
    bool consented;
    Badge badge;
};
void PrintTo(const AccessRow& row, std::ostream* out) {
    *out << row.name;
}

AccessRules rules_with(Rule rule, Rule fallback) {
    AccessRules rules;
    rules.fallback = fallback;
    if (rule) rules.models[kModel] = *rule;
    return rules;
}

class AccessTable : public ::testing::TestWithParam<AccessRow> {};

TEST_P(AccessTable, gives_that_badge) {
    const AccessRow& row = GetParam();
    std::vector<AccessRules> groups;
    for (const Rule& rule : row.group_rules) groups.push_back(rules_with(rule, none));
    for (const Rule& fallback : row.group_defaults) groups.push_back(rules_with(none, fallback));
    std::vector<const AccessRules*> pointers;
    for (const AccessRules& group : groups) pointers.push_back(&group);
    const ModelRule model{kModel, row.model_access, row.needs_ack};
    const AccessResult result =
        resolve_access(rules_with(row.own_rule, row.own_default), pointers, model, row.site_default);
    EXPECT_EQ(badge_name(access_badge(result.rule, row.needs_ack, row.consented)), badge_name(row.badge));
}

INSTANTIATE_TEST_SUITE_P(
    spec_rest_4, AccessTable,
    ::testing::Values(AccessRow{"row_01", A, {A}, A, {A}, A, B, false, false, Badge::allowed},
                      AccessRow{"row_02", A, {B}, B, {B}, B, B, false, false, Badge::allowed},
                      AccessRow{"row_03", none, {A, B}, A, {A}, A, B, false, false, Badge::blocked},
                      AccessRow{"row_04", none, {A}, B, {B}, B, B, false, false, Badge::allowed},
                      AccessRow{"row_05", none, {B}, A, {A}, A, B, false, false, Badge::blocked},
                      AccessRow{"row_06", none, {}, B, {A}, A, B, false, false, Badge::blocked},
                      AccessRow{"row_07", none, {}, A, {B}, B, B, false, false, Badge::allowed},
                      AccessRow{"row_08", none, {}, none, {A, B}, B, B, false, false, Badge::allowed},
                      AccessRow{"row_09", none, {}, none, {B}, A, A, false, false, Badge::blocked},
                      AccessRow{"row_10", none, {}, none, {}, A, B, false, false, Badge::allowed},
                      AccessRow{"row_11", none, {}, none, {}, none, A, false, false, Badge::allowed},
                      AccessRow{"row_12", none, {}, none, {}, none, B, false, false, Badge::blocked},
                      AccessRow{"row_13", A, {}, none, {}, none, B, true, false, Badge::need_consent},
                      AccessRow{"row_14", none, {}, none, {A}, none, B, true, true, Badge::consented},
                      AccessRow{"row_15", none, {}, A, {}, none, B, true, false, Badge::need_consent},
                      AccessRow{"row_16", B, {A}, A, {A}, none, B, true, true, Badge::blocked},
                      AccessRow{"row_18", none, {B}, A, {}, none, B, false, false, Badge::blocked},
                      AccessRow{"row_20", none, {}, none, {A}, B, B, false, false, Badge::allowed},
                      AccessRow{"row_22", none, {}, A, {}, none, B, true, false, Badge::need_consent}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(Access, a_rule_for_another_model_says_nothing) {
    AccessRules own;
    own.models[kModel + 1] = A;
    EXPECT_EQ(resolve_access(own, {}, {kModel, none, false}, B).rule, B);
}

TEST(Access, the_source_is_the_step_that_decided) {
    const ModelRule open{kModel, none, false};
    const AccessRules own = rules_with(A, B);
    const AccessRules group = rules_with(B, A);
    const AccessRules nothing;
    EXPECT_EQ(resolve_access(own, {&group}, open, B).source, AccessSource::own_rule);
    EXPECT_EQ(resolve_access(nothing, {&group}, open, B).source, AccessSource::group_rule);
    EXPECT_EQ(resolve_access(nothing, {}, {kModel, A, false}, B).source, AccessSource::model);
    EXPECT_EQ(resolve_access(nothing, {&group}, {kModel + 1, none, false}, B).source, AccessSource::group_default);
    EXPECT_EQ(resolve_access(own, {}, {kModel + 1, none, false}, A).source, AccessSource::own_default);
    EXPECT_EQ(resolve_access(nothing, {}, open, A).source, AccessSource::site_default);
}

BudgetRule limited(std::int64_t max, std::int64_t refresh = 0, std::int64_t starting = 0, const char* name = "g") {
    BudgetRule rule;
    rule.kind = MaxKind::limited;
    rule.max = NanoCoins(max);
    rule.refresh = NanoCoins(refresh);
    rule.starting = NanoCoins(starting);
    rule.name = name;
    return rule;
}
BudgetRule of_kind(MaxKind kind) {
    BudgetRule rule;
    rule.kind = kind;
    rule.name = "k";
    return rule;
}
const BudgetRule kNothing = of_kind(MaxKind::zero);

TEST(Limits, own_rule_wins_over_everything) {
    const auto budget = resolve_budget(limited(3), {}, {of_kind(MaxKind::unlimited)}, limited(9), false);
    EXPECT_EQ(budget.kind, BudgetKind::limited);
    EXPECT_EQ(budget.limit, NanoCoins(3));
    EXPECT_EQ(budget.source, "account");
}

TEST(Limits, own_zero_blocks_and_is_not_no_budget) {
    EXPECT_EQ(resolve_budget(kNothing, {}, {limited(5)}, limited(9), false).kind, BudgetKind::blocked);
}

TEST(Limits, own_minus_two_is_unlimited) {
    EXPECT_EQ(resolve_budget(of_kind(MaxKind::unlimited), {}, {}, kNothing, false).kind, BudgetKind::unlimited);
}

TEST(Limits, zero_in_a_group_or_the_defaults_gives_nothing) {
    EXPECT_EQ(resolve_budget({}, {}, {kNothing}, limited(9), false).source, "default");
    EXPECT_EQ(resolve_budget({}, {}, {kNothing}, kNothing, false).kind, BudgetKind::none);
}

TEST(Limits, one_unlimited_group_is_enough) {
    const auto budget = resolve_budget({}, {}, {limited(5), of_kind(MaxKind::unlimited)}, kNothing, false);
    EXPECT_EQ(budget.kind, BudgetKind::unlimited);
}

TEST(Limits, the_best_group_counts_as_a_whole) {
    const auto budget = resolve_budget({}, {}, {limited(5, 1, 5, "a"), limited(6, 0, 2, "b"), limited(6, 0, 1, "c")},
                                       limited(50), false);
    EXPECT_EQ(budget.source, "group:b");
    EXPECT_EQ(budget.refresh, NanoCoins(0));
    EXPECT_EQ(budget.starting, NanoCoins(2));
}

TEST(Limits, equal_groups_are_told_apart_by_name) {
    EXPECT_EQ(resolve_budget({}, {}, {limited(5, 1, 1, "a"), limited(5, 1, 1, "b")}, kNothing, false).source,
              "group:b");
}

TEST(Limits, the_mode_is_said_apart_from_the_coins) {
    BudgetRule strict_group = limited(5);
    strict_group.strict = true;
    EXPECT_TRUE(resolve_budget({}, {}, {strict_group}, kNothing, false).strict);
    EXPECT_FALSE(resolve_budget({}, false, {strict_group}, kNothing, true).strict);
    EXPECT_TRUE(resolve_budget({}, true, {}, kNothing, false).strict);
    EXPECT_TRUE(resolve_budget({}, {}, {}, limited(1), true).strict);
}

}  // namespace
}  // namespace lumen

#include "admind/settings/claim_rules.h"

#include <algorithm>

namespace lumen::admind {

namespace {

const Json* find_claim(const Json& claims, const std::string& field) {
    if (!claims.is_object()) return nullptr;
    if (const auto named = claims.find(field); named != claims.end()) return &*named;
    const std::size_t dot = field.find('.');
    if (dot == std::string::npos) return nullptr;
    const auto outer = claims.find(field.substr(0, dot));
    return outer == claims.end() ? nullptr : find_claim(*outer, field.substr(dot + 1));
}

bool is_element(const Json& list, const std::string& value) {
    return std::any_of(list.begin(), list.end(), [&](const Json& item) {
        return item.is_string() && item.get_ref<const std::string&>() == value;
    });
}

}  // namespace

bool rule_matches(const ClaimRule& rule, const Json& claims) {
    const bool contains = rule.contains && !rule.contains->empty();
    const bool equals = rule.equals && !rule.equals->empty();
    const bool empty_matcher = (rule.contains && !contains) || (rule.equals && !equals);
    if (rule.field.empty() || empty_matcher || (!contains && !equals)) return false;
    const Json* claim = find_claim(claims, rule.field);
    if (claim == nullptr) return false;
    if (claim->is_array()) {
        return (!contains || is_element(*claim, *rule.contains)) && (!equals || is_element(*claim, *rule.equals));
    }
    if (!claim->is_string()) return false;
    const std::string& text = claim->get_ref<const std::string&>();
    return (!contains || text.find(*rule.contains) != std::string::npos) && (!equals || text == *rule.equals);
}

bool rules_match(const std::vector<ClaimRule>& rules, const Json& claims) {
    return !rules.empty() &&
           std::all_of(rules.begin(), rules.end(), [&](const ClaimRule& rule) { return rule_matches(rule, claims); });
}

std::vector<ClaimRule> read_claim_rules(const Json& stored) {
    std::vector<ClaimRule> rules;
    for (const Json& entry : stored) {
        ClaimRule rule;
        rule.field = entry.value("field", "");
        if (entry.contains("contains")) rule.contains = entry["contains"].get<std::string>();
        if (entry.contains("equals")) rule.equals = entry["equals"].get<std::string>();
        rules.push_back(std::move(rule));
    }
    return rules;
}

}  // namespace lumen::admind

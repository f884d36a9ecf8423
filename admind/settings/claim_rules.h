// Group rules against sign-in claims (spec/rest.md §5). Pure.
#pragma once

#include <vector>

#include "admind/settings/settings.h"
#include "admind/text/json.h"

namespace lumen::admind {

/// `field`: a claim of that name, else a dotted path into the claims. Text: `contains` is a part of it in the same
/// letters, `equals` all of it; a list: one element is the value, for both. A rule with both needs both; one without
/// field or matcher, or with an empty one, matches nobody.
bool rule_matches(const ClaimRule& rule, const Json& claims);
/// All of them, and there is one at least.
bool rules_match(const std::vector<ClaimRule>& rules, const Json& claims);

/// As groups.rules keeps them.
std::vector<ClaimRule> read_claim_rules(const Json& stored);

}  // namespace lumen::admind

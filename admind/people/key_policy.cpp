#include "admind/people/key_policy.h"

#include "admind/people/policies.h"
#include "admind/stores/pg_values.h"

namespace lumen::admind {

PolicyId key_policy_of(pqxx::transaction_base& transaction, const KeyScope& scope) {
    if (!scope.models && scope.addresses.empty()) return 0;
    std::string canonical = "key" + (scope.models ? sql_ids(*scope.models) : std::string("*"));
    for (const std::string& range : scope.addresses) canonical += " " + range;
    PolicyContent content;
    content.any_model = !scope.models;
    content.allowed = scope.models.value_or(std::vector<ModelId>{});
    content.addresses = scope.addresses;
    return find_or_make_policy(transaction, canonical, content);
}

}  // namespace lumen::admind

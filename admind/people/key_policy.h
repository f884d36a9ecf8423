// What a key is narrowed to, as a policy of its own beside its account's.
#pragma once

#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "lumen_core/ids.h"

namespace lumen::admind {

struct KeyScope {
    std::optional<std::vector<ModelId>> models;  ///< ascending; absent: whatever the account may use
    std::vector<std::string> addresses;          ///< ranges, ascending; empty: from anywhere
};

/// The policy of this scope, made if there is none; 0 if it narrows nothing. Publish it before a key names it.
PolicyId key_policy_of(pqxx::transaction_base& transaction, const KeyScope& scope);

}  // namespace lumen::admind

// Policies in the book: equal ones are one row, found by a digest of what they say.
#pragma once

#include <pqxx/pqxx>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/ids.h"

namespace lumen::admind {

struct PolicyContent {
    bool strict = false;
    bool any_model = false;
    std::vector<ModelId> allowed;        ///< ascending
    std::vector<ModelId> needs_consent;  ///< ascending
    std::vector<std::string> addresses;  ///< ranges, ascending; empty: from anywhere
};

/// The policy that says this; made if there is none. `canonical`: all of it as text, equal only for equal content.
PolicyId find_or_make_policy(pqxx::transaction_base& transaction, std::string_view canonical,
                             const PolicyContent& content);

}  // namespace lumen::admind

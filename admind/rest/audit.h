// The audit log: who changed what, in the transaction that changes it.
#pragma once

#include <pqxx/pqxx>
#include <string>

#include "admind/rest/routes.h"

namespace lumen::admind {

/// `after` and `before` must hold no secret. `target` is "kind:id"; before is null for what is new.
void audit(pqxx::transaction_base& transaction, const Call& call, const char* action, const std::string& target,
           const Json& after = Json::object(), const Json& before = nullptr);

}  // namespace lumen::admind

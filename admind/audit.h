// The audit log: who changed what, in the transaction that changes it.
#pragma once

#include <pqxx/pqxx>
#include <string>

#include "admind/routes.h"

namespace lumen::admind {

/// `detail` must hold no secret.
void audit(pqxx::transaction_base& transaction, const Call& call, const char* action, const std::string& target,
           const Json& detail = Json::object());

}  // namespace lumen::admind

// The contract held against real answers: every reply that a test gets over HTTP must be listed in openapi.json.
#pragma once

#include <string>

#include "tests/admind/private_admind.h"

namespace lumen::admind {

/// Empty, or what of the reply the contract does not list: the path, the status, the media type, a field, a code.
std::string contract_violation(const std::string& method, const std::string& path, const HttpReply& reply);

/// The reply's route as "METHOD /pattern"; empty: there is none.
std::string route_of(const std::string& method, const std::string& path);

/// What is wrong with `value` under `schema` (the part of JSON Schema that our contract uses), with its place.
std::string schema_violation(const Json& schema, const Json& value, const std::string& place = "");

}  // namespace lumen::admind

// The keys of one account, for whoever may manage them: the person, a project's managers, administrators. The callers
// have made sure of that; what is refused here is refused to all of them.
#pragma once

#include <optional>
#include <pqxx/pqxx>
#include <variant>

#include "admind/rest/api_parts.h"
#include "admind/rest/routes.h"

namespace lumen::admind {

Answer list_keys(const Call& call, AccountId account);
/// 201 with the secret: the only answer that ever has it.
Answer draft_key(const Call& call, AccountId account);
Answer discard_key_draft(const Call& call, AccountId account, const std::string& draft);
/// The draft becomes a key: 201, or 410 draft_expired.
Answer save_key(const Call& call, AccountId account);
/// A key at once, with its secret in the answer: for service accounts and scripts.
Answer make_key(const Call& call, AccountId account);
Answer change_key(const Call& call, AccountId account, std::optional<KeyId> key);
Answer delete_key(const Call& call, AccountId account, std::optional<KeyId> key);

}  // namespace lumen::admind

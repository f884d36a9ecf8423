// Memberships by rule, in the book: at each sign-in, and for everybody when rules change.
#pragma once

#include <pqxx/pqxx>

#include "admind/text/json.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

/// Stores the claims and brings this account's memberships by rule in line with them; others stay as they are.
void store_claims(pqxx::transaction_base& transaction, AccountId account, const Json& claims);

/// Everybody's memberships by rule, on the claims of their last sign-in. Call it in the transaction that changes rules,
/// or that takes memberships of another kind away.
void apply_group_rules(pqxx::transaction_base& transaction);
/// The same for one account.
void apply_group_rules(pqxx::transaction_base& transaction, AccountId account);

}  // namespace lumen::admind

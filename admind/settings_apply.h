// Brings what lumen.yaml states about models, prices, endpoints, groups and users into the book: one transaction.
#pragma once

#include <pqxx/pqxx>
#include <string>

#include "admind/settings.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

/// Until `transaction` ends the file is not applied. Comes first in a transaction that gives an account what the file
/// says of it: otherwise one that is made while the file is applied would miss what is new in both.
void keep_settings_still(pqxx::transaction_base& transaction);

/// Idempotent. Ids stay: a model, endpoint, price point or group keeps its id for ever under its name.
void apply_settings(pqxx::transaction_base& transaction, const Settings& settings);

/// Memberships and own rules that the file states for one user; for one that has just been made.
void apply_user_settings(pqxx::transaction_base& transaction, const Settings& settings, const std::string& email,
                         AccountId account);
/// The same for one project, by its name.
void apply_project_settings(pqxx::transaction_base& transaction, const Settings& settings, const std::string& name,
                            AccountId account);
/// Undoes either, for one whose address or name is another now.
void forget_settings(pqxx::transaction_base& transaction, AccountId account);

}  // namespace lumen::admind

// Brings what lumen.yaml states about models, prices, endpoints, groups and users into the book: one transaction.
#pragma once

#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "admind/settings/settings.h"
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

/// Who states a model or group: what lumen.yaml states, REST may not change, and the other way round.
enum class ManagedBy : std::uint8_t { config, admin };
constexpr const char* managed_by_name(ManagedBy by) noexcept {
    return by == ManagedBy::config ? "config" : "admin";
}

ModelId apply_model(pqxx::transaction_base& transaction, const ModelSettings& model, ManagedBy by);
/// The price in force stays a row of its own when it changes: its end becomes now, and the new one begins. A model's
/// very first price reaches back to the epoch, so that there is no moment without one. Plans are replaced by `prices`.
void apply_prices(pqxx::transaction_base& transaction, ModelId id, const std::vector<PricePoint>& prices,
                  std::int64_t now_ms);
/// Sealing is random, so an equal credential keeps its sealed text: the catalogue then does not change either.
void apply_endpoint(pqxx::transaction_base& transaction, ModelId model, const EndpointSettings& endpoint,
                    const std::string& installation_secret);
/// The endpoint's credential in plain text; empty: it has none.
std::string endpoint_credential(pqxx::transaction_base& transaction, ModelId model, const std::string& endpoint,
                                const AppSettings& app);
void apply_group(pqxx::transaction_base& transaction, const GroupSettings& group, ManagedBy by);

}  // namespace lumen::admind

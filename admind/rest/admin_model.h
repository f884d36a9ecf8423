// Models as administrators see and change them: what the routes of models, prices and endpoints share.
#pragma once

#include <map>
#include <optional>
#include <pqxx/pqxx>
#include <string>

#include "admind/people/settings_apply.h"
#include "admind/rest/routes.h"

namespace lumen::admind {

struct AdminModel {
    ModelId id = 0;
    std::string name;
    bool from_config = false;  ///< lumen.yaml states it: REST may not change it
    std::string etag;          ///< of what can be changed of it: its own row, endpoints and prices
};
/// nullopt: no such model, or a removed one.
std::optional<AdminModel> find_admin_model(pqxx::transaction_base& transaction, const Settings& settings,
                                           std::optional<std::int64_t> id);
/// As find, for a change: 404, 412, 409 managed_by_config.
struct ModelForChange {
    AdminModel model;
    std::optional<Problem> refusal;
};
ModelForChange model_for_change(const Call& call, pqxx::transaction_base& transaction);

/// What GET /admin/models/{id} shows.
Json admin_model_json(const Call& call, pqxx::transaction_base& transaction, ModelId id);
Answer answer_with_model(const Call& call, int status, ModelId id);

/// Endpoints of all models, or of one, with what gates and probes say of them.
std::map<ModelId, Json> admin_endpoints_json(const Call& call, pqxx::transaction_base& transaction,
                                             std::optional<ModelId> only);

}  // namespace lumen::admind

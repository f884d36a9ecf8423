#include "admind/rest/admin_model.h"

#include <algorithm>

namespace lumen::admind {

namespace {

constexpr const char* kModelQuery =
    "select m.id, m.name, m.disabled, m.removed, m.access, m.hide_when_blocked, m.needs_ack, m.ack_message,"
    " m.notice_version, m.prefix_affinity, m.context_window, m.max_output_tokens, m.card::text card from models m";

Json optional_number(const pqxx::field& field) {
    return field.is_null() ? Json(nullptr) : Json(field.as<std::int64_t>());
}

Json endpoint_json(const pqxx::row& row, const std::unordered_map<EndpointId, EndpointReport>& reports) {
    Json endpoint{{"id", row["name"].as<std::string>()},
                  {"url", row["url"].as<std::string>()},
                  {"model", row["upstream_model"].as<std::string>()},
                  {"weight", row["weight"].as<int>()},
                  {"state", row["state"].as<std::string>()},
                  {"continuous_usage", row["continuous_usage"].as<bool>()},
                  {"api_key", row["has_credential"].as<bool>() ? Json("********") : Json(nullptr)}};
    const auto report = reports.find(row["id"].as<EndpointId>());
    const bool known = report != reports.end() && report->second.life != EndpointLife::unknown;
    endpoint["healthy"] = known ? Json(report->second.life == EndpointLife::up) : Json(nullptr);
    endpoint["reason"] = known && !report->second.reason.empty() ? Json(report->second.reason) : Json(nullptr);
    endpoint["until"] = known ? utc_json(report->second.until_ms) : Json(nullptr);
    endpoint["in_flight"] = known ? report->second.in_flight : 0;
    return endpoint;
}

Json price_json(pqxx::transaction_base& transaction, ModelId model) {
    Json price = Json::object();
    for (const auto& row : transaction.exec_params(
             "select meter, nano from prices where model_id = $1 and valid @> now() order by meter", model)) {
        price[row[0].as<std::string>()] = coins_json(NanoCoins(row[1].as<std::int64_t>()));
    }
    return price;
}

bool states_model(const Settings& settings, const std::string& name) {
    return std::any_of(settings.models.begin(), settings.models.end(),
                       [&](const ModelSettings& model) { return model.name == name; });
}

}  // namespace

std::map<ModelId, Json> admin_endpoints_json(const Call& call, pqxx::transaction_base& transaction,
                                             std::optional<ModelId> only) {
    const auto reports = call.services.endpoints.reports();
    std::map<ModelId, Json> endpoints;
    for (const auto& row : transaction.exec_params(
             "select id, model_id, name, url, upstream_model, weight, continuous_usage,"
             " case when drain then 'draining' else state end state, credential <> '' has_credential from endpoints"
             " where not removed and ($1 = '' or model_id = nullif($1, '')::bigint) order by id",
             only ? std::to_string(*only) : std::string())) {
        Json& own = endpoints[row["model_id"].as<ModelId>()];
        if (own.is_null()) own = Json::array();
        own.push_back(endpoint_json(row, reports));
    }
    return endpoints;
}

namespace {

Json model_json(const Settings& settings, const pqxx::row& row, const Json& endpoints) {
    const auto name = row["name"].as<std::string>();
    const bool disabled = row["disabled"].as<bool>();
    std::size_t down = 0;
    for (const Json& endpoint : endpoints) down += endpoint["healthy"] == false ? 1 : 0;
    const ModelStatus status = disabled                   ? ModelStatus::disabled
                               : down == endpoints.size() ? ModelStatus::down
                               : down > 0                 ? ModelStatus::degraded
                                                          : ModelStatus::ok;
    return {{"id", id_json(row["id"].as<ModelId>())},
            {"name", name},
            {"managed_by", states_model(settings, name) ? "config" : "admin"},
            {"disabled", disabled},
            {"removed", row["removed"].as<bool>()},
            {"status", model_status_name(status)},
            {"access",
             row["access"].is_null() ? Json(nullptr) : Json(row["access"].as<int>() == 1 ? "allowed" : "blocked")},
            {"hide_when_blocked", row["hide_when_blocked"].as<bool>()},
            {"needs_ack", row["needs_ack"].as<bool>()},
            {"ack_message", row["ack_message"].as<std::string>()},
            {"notice_version", row["notice_version"].as<int>()},
            {"prefix_affinity", row["prefix_affinity"].as<bool>()},
            {"context_window", optional_number(row["context_window"])},
            {"max_output_tokens", optional_number(row["max_output_tokens"])},
            {"card", parse_json(row["card"].c_str()).value_or(Json::object())},
            {"endpoints", endpoints}};
}

Json list_of(std::map<ModelId, Json>& endpoints, ModelId id) {
    Json& own = endpoints[id];
    return own.is_null() ? Json::array() : own;
}

}  // namespace

Json admin_model_json(const Call& call, pqxx::transaction_base& transaction, ModelId id) {
    auto endpoints = admin_endpoints_json(call, transaction, id);
    const auto row = transaction.exec_params1(std::string(kModelQuery) + " where m.id = $1", id);
    Json model = model_json(call.settings, row, list_of(endpoints, id));
    model["prices"] = price_json(transaction, id);
    return model;
}

std::optional<AdminModel> find_admin_model(pqxx::transaction_base& transaction, const Settings& settings,
                                           std::optional<std::int64_t> id) {
    if (!id) return std::nullopt;
    const auto rows = transaction.exec_params(
        "select m.name, md5(m::text"
        " || coalesce((select string_agg(e::text, ',' order by e.id) from endpoints e where e.model_id = m.id), '')"
        " || coalesce((select string_agg(p::text, ',' order by p.id) from prices p where p.model_id = m.id), ''))"
        " from models m where m.id = $1 and not m.removed",
        *id);
    if (rows.empty()) return std::nullopt;
    const auto name = rows[0][0].as<std::string>();
    return AdminModel{*id, name, states_model(settings, name), "\"" + rows[0][1].as<std::string>() + "\""};
}

ModelForChange model_for_change(const Call& call, pqxx::transaction_base& transaction) {
    ModelForChange result;
    auto found = find_admin_model(transaction, call.settings, call.path_id(0));
    if (!found) {
        result.refusal = not_found();
        return result;
    }
    result.model = std::move(*found);
    const bool guarded = !call.http.header("if-match").empty();
    if (guarded && !if_match(call.http, result.model.etag)) result.refusal = changed_meanwhile();
    if (!result.refusal && result.model.from_config) {
        result.refusal = Problem{409, "managed_by_config", "lumen.yaml states this model."};
    }
    return result;
}

Answer answer_with_model(const Call& call, int status, ModelId id) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto model = find_admin_model(transaction, call.settings, id);
    if (!model) return not_found();
    Answer answer(status, admin_model_json(call, transaction, id));
    answer.headers.emplace_back("ETag", model->etag);
    return answer;
}

}  // namespace lumen::admind

// Model servers, for administrators: add, change, drain, probe, and ask them what they serve.
#include <algorithm>
#include <chrono>

#include "admind/catalogue/endpoint_prober.h"
#include "admind/people/outgoing_fetch.h"
#include "admind/rest/admin_model.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/settings/settings_body.h"
#include "admind/settings/settings_sections.h"
#include "admind/settings/settings_values.h"
#include "lumen_core/catalogue.h"

namespace lumen::admind {

namespace {

constexpr const char* kMasked = "********";
constexpr std::size_t kMostModelsOfServer = 1000;

std::string target_of(ModelId model, const std::string& endpoint) {
    return "endpoint:" + std::to_string(model) + "/" + endpoint;
}

/// The credential is no part of what is remembered.
Json masked(Json body) {
    if (body.is_object() && body.contains("api_key")) body["api_key"] = kMasked;
    return body;
}

struct StoredEndpoint {
    EndpointId id = 0;
    std::string name;
    std::string url;
    std::string upstream_model;
    std::string credential;  ///< plain
    bool drained_by_file = false;
};

std::vector<StoredEndpoint> read_endpoint_rows(const Call& call, pqxx::transaction_base& transaction, ModelId model) {
    std::vector<StoredEndpoint> endpoints;
    for (const auto& row : transaction.exec_params("select id, name, url, upstream_model, credential, state from "
                                                   "endpoints where model_id = $1 and not removed"
                                                   " order by id",
                                                   model)) {
        const auto sealed = row[4].as<std::string>();
        StoredEndpoint one;
        one.id = row[0].as<EndpointId>();
        one.name = row[1].as<std::string>();
        one.url = row[2].as<std::string>();
        one.upstream_model = row[3].as<std::string>();
        if (!sealed.empty()) {
            one.credential =
                unseal_credential(call.settings.app.encryption_key, call.settings.app.previous_encryption_key,
                                  std::to_string(one.id), sealed)
                    .value_or("");
        }
        one.drained_by_file = row[5].as<std::string>() == "draining";
        endpoints.push_back(std::move(one));
    }
    return endpoints;
}

std::optional<StoredEndpoint> find_endpoint(const Call& call, pqxx::transaction_base& transaction, ModelId model) {
    for (StoredEndpoint& one : read_endpoint_rows(call, transaction, model)) {
        if (one.name == call.path.at(1)) return std::move(one);
    }
    return std::nullopt;
}

Json endpoint_json(const Call& call, pqxx::transaction_base& transaction, ModelId model, const std::string& name) {
    auto endpoints = admin_endpoints_json(call, transaction, model);
    for (Json& one : endpoints[model]) {
        if (one["id"] == name) return std::move(one);
    }
    return nullptr;
}

struct ReadEndpoint {
    EndpointSettings endpoint;
    std::optional<Problem> refusal;
};

/// One endpoint, by the rules of a file's list of them.
ReadEndpoint read_body(const Call& call, const std::string& model, const std::optional<std::string>& name) {
    const Json list{{"endpoints", Json::array({call.body})}};
    SettingsBody body(list);
    Section section = body.section();
    const auto endpoints = read_endpoints(section, body.report(), model);
    ReadEndpoint result;
    if (!endpoints.empty()) result.endpoint = endpoints.front();
    if (name && call.body.is_object() && call.body.contains("id") && result.endpoint.id != *name) {
        section.error("endpoints[0].id", "cannot be changed");
    }
    if (name) result.endpoint.id = *name;
    result.refusal = body.refusal();
    if (!result.refusal) return result;
    constexpr std::string_view kPlace = "endpoints[0]";
    for (FieldError& error : result.refusal->errors) {
        if (error.path.compare(0, kPlace.size(), kPlace) != 0) continue;
        error.path.erase(0, std::min(error.path.size(), kPlace.size() + 1));
    }
    return result;
}

}  // namespace

Answer get_endpoints(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto model = find_admin_model(transaction, call.settings, call.path_id(0));
    if (!model) return not_found();
    Json data = admin_endpoints_json(call, transaction, model->id)[model->id];
    Answer answer(200, {{"data", data.is_null() ? Json::array() : std::move(data)},
                        {"next_cursor", nullptr},
                        {"prev_cursor", nullptr}});
    answer.headers.emplace_back("ETag", model->etag);
    return answer;
}

Answer post_endpoint(const Call& call) {
    Json made;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        ModelForChange found = model_for_change(call, transaction);
        if (found.refusal) return Answer(std::move(*found.refusal));
        ReadEndpoint wanted = read_body(call, found.model.name, std::nullopt);
        if (wanted.refusal) return Answer(std::move(*wanted.refusal));
        const Json there = endpoint_json(call, transaction, found.model.id, wanted.endpoint.id);
        if (!there.is_null()) return Problem{409, "name_taken", "This model has an endpoint of this id."};
        apply_endpoint(transaction, found.model.id, wanted.endpoint, call.settings.app.encryption_key);
        audit(transaction, call, "endpoint.create", target_of(found.model.id, wanted.endpoint.id), masked(call.body));
        made = endpoint_json(call, transaction, found.model.id, wanted.endpoint.id);
        transaction.commit();
    }
    call.services.publisher.publish();
    return {201, std::move(made)};
}

Answer put_endpoint(const Call& call) {
    Json now;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        ModelForChange found = model_for_change(call, transaction);
        if (found.refusal) return Answer(std::move(*found.refusal));
        const auto stored = find_endpoint(call, transaction, found.model.id);
        if (!stored) return not_found();
        ReadEndpoint wanted = read_body(call, found.model.name, stored->name);
        if (wanted.refusal) return Answer(std::move(*wanted.refusal));
        // What the API shows of a credential is not one: sent back, it means the old one.
        const bool keep = !call.body.contains("api_key") || wanted.endpoint.api_key == kMasked;
        if (keep) wanted.endpoint.api_key = stored->credential;
        const Json before = endpoint_json(call, transaction, found.model.id, stored->name);
        apply_endpoint(transaction, found.model.id, wanted.endpoint, call.settings.app.encryption_key);
        audit(transaction, call, "endpoint.change", target_of(found.model.id, stored->name), masked(call.body), before);
        now = endpoint_json(call, transaction, found.model.id, stored->name);
        transaction.commit();
    }
    call.services.publisher.publish();
    return {200, std::move(now)};
}

Answer delete_endpoint(const Call& call) {
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        ModelForChange found = model_for_change(call, transaction);
        if (found.refusal) return Answer(std::move(*found.refusal));
        const auto stored = find_endpoint(call, transaction, found.model.id);
        if (!stored) return not_found();
        const Json before = endpoint_json(call, transaction, found.model.id, stored->name);
        transaction.exec_params0("update endpoints set removed = true, credential = '' where id = $1", stored->id);
        audit(transaction, call, "endpoint.delete", target_of(found.model.id, stored->name), nullptr, before);
        transaction.commit();
    }
    call.services.publisher.publish();
    return {204, nullptr};
}

namespace {

/// Draining is an operator's word of the moment, so it goes for lumen.yaml's endpoints too, and outlives a reload.
Answer set_drain(const Call& call, bool drain) {
    Json now;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto model = find_admin_model(transaction, call.settings, call.path_id(0));
        const auto stored = model ? find_endpoint(call, transaction, model->id) : std::nullopt;
        if (!stored) return not_found();
        if (!drain && stored->drained_by_file && model->from_config) {
            return Problem{409, "managed_by_config", "lumen.yaml states that this endpoint is draining."};
        }
        const Json before = endpoint_json(call, transaction, model->id, stored->name);
        transaction.exec_params0(
            "update endpoints set drain = $2, state = case when $2 then state else 'active' end where id = $1",
            stored->id, drain);
        now = endpoint_json(call, transaction, model->id, stored->name);
        audit(transaction, call, drain ? "endpoint.drain" : "endpoint.activate", target_of(model->id, stored->name),
              {{"state", now["state"]}}, {{"state", before["state"]}});
        transaction.commit();
    }
    call.services.publisher.publish();
    return {200, {{"state", now["state"]}, {"in_flight", now["in_flight"]}}};
}

}  // namespace

Answer post_endpoint_drain(const Call& call) {
    return set_drain(call, true);
}
Answer post_endpoint_activate(const Call& call) {
    return set_drain(call, false);
}

Answer post_endpoint_probe(const Call& call) {
    std::optional<StoredEndpoint> stored;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto model = find_admin_model(transaction, call.settings, call.path_id(0));
        stored = model ? find_endpoint(call, transaction, model->id) : std::nullopt;
    }
    if (!stored) return not_found();
    const auto began = std::chrono::steady_clock::now();
    const auto results = probe_endpoints({{stored->id, stored->url, stored->credential}}, call.settings.health.timeout);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
    const auto healthy = results.find(stored->id);
    return {200, {{"healthy", healthy != results.end() && healthy->second}, {"duration_ms", took.count()}}};
}

namespace {

struct Served {
    std::string error;
    std::vector<std::pair<std::string, std::int64_t>> models;  ///< name and context window (0: not said)
};

/// What a server lists in its own GET /v1/models.
Served ask_server(const StoredEndpoint& endpoint, std::chrono::seconds timeout) {
    Served served;
    const auto url = parse_web_url(endpoint.url);
    if (!url) return {"not an http or https URL", {}};
    FetchRules rules;
    rules.hosts = {url->host};
    rules.addresses = FetchRules::Addresses::any;
    rules.schemes = FetchRules::Schemes::http_too;
    rules.timeout = timeout;
    FetchRequest request{endpoint.url + "/models"};
    if (!endpoint.credential.empty()) request.headers.emplace_back("Authorization", "Bearer " + endpoint.credential);
    const Fetched fetched = fetch(request, rules);
    if (!fetched.ok()) return {fetched.error.empty() ? "answers " + std::to_string(fetched.status) : fetched.error, {}};
    const auto json = parse_json(fetched.body);
    if (!json || !json->is_object() || !json->contains("data") || !(*json)["data"].is_array()) {
        return {"lists no models", {}};
    }
    for (const Json& entry : (*json)["data"]) {
        if (!entry.is_object() || !entry.contains("id") || !entry["id"].is_string()) continue;
        if (served.models.size() == kMostModelsOfServer) break;
        const bool known = entry.contains("max_model_len") && entry["max_model_len"].is_number_unsigned();
        served.models.emplace_back(entry["id"].get<std::string>(),
                                   known ? entry["max_model_len"].get<std::int64_t>() : 0);
    }
    return served;
}

}  // namespace

Answer post_model_sync(const Call& call) {
    std::vector<StoredEndpoint> endpoints;
    Json context_now;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto model = find_admin_model(transaction, call.settings, call.path_id(0));
        if (!model) return not_found();
        endpoints = read_endpoint_rows(call, transaction, model->id);
        context_now = admin_model_json(call, transaction, model->id)["context_window"];
    }
    Json asked = Json::array();
    std::int64_t smallest = 0;  // what every server of the model can hold
    for (const StoredEndpoint& endpoint : endpoints) {
        const Served served = ask_server(endpoint, call.settings.health.timeout);
        Json names = Json::array();
        bool serves = false;
        for (const auto& [name, context] : served.models) {
            names.push_back(name);
            if (name != endpoint.upstream_model) continue;
            serves = true;
            if (context > 0 && (smallest == 0 || context < smallest)) smallest = context;
        }
        asked.push_back({{"endpoint", endpoint.name},
                         {"error", served.error.empty() ? Json(nullptr) : Json(served.error)},
                         {"serves", serves},
                         {"models", std::move(names)}});
    }
    Json proposals = Json::array();
    if (smallest > 0 && context_now != smallest) {
        proposals.push_back({{"field", "context_window"}, {"now", context_now}, {"proposed", smallest}});
    }
    return {200, {{"proposals", std::move(proposals)}, {"endpoints", std::move(asked)}}};
}

}  // namespace lumen::admind

// Models, for administrators: those of lumen.yaml to look at, and others beside them.
#include "admind/people/account_setup.h"
#include "admind/rest/admin_model.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/settings/settings_body.h"
#include "admind/settings/settings_sections.h"
#include "admind/stores/pg_values.h"

namespace lumen::admind {

namespace {

std::string target_of(const AdminModel& model) {
    return "model:" + std::to_string(model.id);
}

/// What was asked for, without the credentials in it.
Json without_secrets(Json body) {
    if (body.contains("endpoints") && body["endpoints"].is_array()) {
        for (Json& endpoint : body["endpoints"]) {
            if (endpoint.is_object() && endpoint.contains("api_key")) endpoint["api_key"] = "********";
        }
    }
    return body;
}

bool says_a_price(const Json& body) {
    for (const char* meter :
         {"input_cost_per_million", "output_cost_per_million", "cached_input_cost_per_million",
          "cache_write_cost_per_million", "reasoning_cost_per_million", "speech_cost_per_million_characters",
          "audio_cost_per_hour", "image_cost", "request_cost", "prices"}) {
        if (body.contains(meter)) return true;
    }
    return false;
}

/// A masked credential is the one that is there.
void apply_endpoints(pqxx::transaction_base& transaction, const Call& call, ModelId id, const ModelSettings& model) {
    std::vector<std::string> names;
    for (EndpointSettings endpoint : model.endpoints) {
        names.push_back(endpoint.id);
        if (endpoint.api_key == "********") {
            endpoint.api_key = endpoint_credential(transaction, id, endpoint.id, call.settings.app);
        }
        apply_endpoint(transaction, id, endpoint, call.settings.app.encryption_key);
    }
    transaction.exec_params0(
        "update endpoints set removed = true, credential = '' where model_id = $1 and not removed"
        " and name not in (select jsonb_array_elements_text($2::jsonb))",
        id, sql_texts(names));
}

}  // namespace

Answer get_admin_models(const Call& call) {
    static const std::vector<SortColumn> columns{{"name", "name", "text"}, {"created_at", "id", "bigint"}};
    auto page = read_page_request(call.http, columns);
    if (auto* problem = std::get_if<Problem>(&page)) return Answer(std::move(*problem));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    std::string query = "select id, name from models";
    if (const auto wanted = call.http.query_value("q"); wanted && !wanted->empty()) {
        query += " where position(" + transaction.quote(*wanted) + " in name) > 0";
    }
    std::vector<ModelId> shown;
    Json list = read_page(transaction, std::get<PageRequest>(page), query, [&](const pqxx::row& row) -> Json {
        shown.push_back(row["id"].as<ModelId>());
        return nullptr;
    });
    for (std::size_t i = 0; i < shown.size(); ++i) list["data"][i] = admin_model_json(call, transaction, shown[i]);
    return {200, std::move(list)};
}

Answer get_admin_model(const Call& call) {
    const auto id = call.path_id(0);
    return id ? answer_with_model(call, 200, *id) : Answer(not_found());
}

Answer post_admin_model(const Call& call) {
    SettingsBody body(call.body);
    Section section = body.section();
    const auto name = section.text("name");
    if (!name) section.required("name");
    if (name && !is_model_name(*name)) section.error("name", "1 to 128 characters, no spaces");
    const ModelSettings wanted = read_model(section, body.report(), "");
    if (auto refused = body.refusal()) return Answer(std::move(*refused));
    ModelId id = 0;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        transaction.exec_params("select pg_advisory_xact_lock(hashtextextended($1, 0))", "model " + *name);
        if (!transaction.exec_params("select 1 from models where name = $1 and not removed", *name).empty()) {
            return Problem{409, "name_taken", "There is a model of this name."};
        }
        id = apply_model(transaction, wanted, ManagedBy::admin);
        apply_prices(transaction, id, wanted.prices, unix_ms_now());
        apply_endpoints(transaction, call, id, wanted);
        audit(transaction, call, "model.create", "model:" + std::to_string(id), without_secrets(call.body));
        transaction.commit();
    }
    settle_all_accounts(call.services, call.settings);
    return answer_with_model(call, 201, id);
}

Answer put_admin_model(const Call& call) {
    ModelForChange change;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        change = model_for_change(call, transaction);
        if (change.refusal) return Answer(std::move(*change.refusal));
        SettingsBody body(call.body);
        Section section = body.section();
        if (section.text("name", change.model.name) != change.model.name) section.error("name", "cannot be changed");
        ModelSettings wanted = read_model(section, body.report(), "");
        if (auto refused = body.refusal()) return Answer(std::move(*refused));
        wanted.name = change.model.name;
        const Json before = admin_model_json(call, transaction, change.model.id);
        apply_model(transaction, wanted, ManagedBy::admin);
        if (says_a_price(call.body)) apply_prices(transaction, change.model.id, wanted.prices, unix_ms_now());
        if (call.body.contains("endpoints")) apply_endpoints(transaction, call, change.model.id, wanted);
        audit(transaction, call, "model.change", target_of(change.model), without_secrets(call.body), before);
        transaction.commit();
    }
    settle_all_accounts(call.services, call.settings);
    return answer_with_model(call, 200, change.model.id);
}

Answer delete_admin_model(const Call& call) {
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        ModelForChange change = model_for_change(call, transaction);
        if (change.refusal) return Answer(std::move(*change.refusal));
        const Json before = admin_model_json(call, transaction, change.model.id);
        transaction.exec_params0("update models set removed = true, disabled = true where id = $1", change.model.id);
        transaction.exec_params0("update endpoints set removed = true, credential = '' where model_id = $1",
                                 change.model.id);
        audit(transaction, call, "model.delete", target_of(change.model), nullptr, before);
        transaction.commit();
    }
    settle_all_accounts(call.services, call.settings);
    return {204, nullptr};
}

/// Of models of lumen.yaml too: who accepted what is the book's alone.
Answer post_model_ask_again(const Call& call) {
    ModelId id = 0;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto model = find_admin_model(transaction, call.settings, call.path_id(0));
        if (!model) return not_found();
        id = model->id;
        const auto raised = transaction.exec_params(
            "update models set notice_version = notice_version + 1, consent_since = notice_version + 1"
            " where id = $1 and needs_ack returning notice_version",
            id);
        if (raised.empty()) return Problem{409, "consent_not_needed", "This model needs no consent."};
        const auto version = raised[0][0].as<std::int64_t>();
        audit(transaction, call, "model.ask_again", target_of(*model), {{"notice_version", version}},
              {{"notice_version", version - 1}});
        transaction.commit();
    }
    settle_all_accounts(call.services, call.settings);
    return answer_with_model(call, 200, id);
}

}  // namespace lumen::admind

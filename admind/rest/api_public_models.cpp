// Models as everybody may see them; who is signed in also learns what they may do with each (M1–M4, D1–D8).
#include <algorithm>
#include <map>

#include "admind/people/recent_requests.h"
#include "admind/people/remote_pages.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/handlers.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kMostModels = 1000;

struct Endpoint {
    EndpointId id = 0;
    std::string name;
};

/// What is the same for whoever asks, read once for a request.
struct Surroundings {
    std::map<ModelId, std::vector<Endpoint>> endpoints;
    std::map<ModelId, Json> prices;
    std::map<ModelId, RecentRequests::Counts> counts;
    std::unordered_map<EndpointId, EndpointReport> reports;
};

/// Of all models, or of one.
Surroundings read_surroundings(const Call& call, pqxx::transaction_base& transaction, std::optional<ModelId> only) {
    const std::string model = only ? std::to_string(*only) : std::string();
    Surroundings all;
    for (const auto& row : transaction.exec_params("select model_id, id, name from endpoints where not removed"
                                                   " and ($1 = '' or model_id = nullif($1, '')::bigint) order by id",
                                                   model)) {
        all.endpoints[row[0].as<ModelId>()].push_back({row[1].as<EndpointId>(), row[2].as<std::string>()});
    }
    for (const auto& row : transaction.exec_params("select model_id, meter, nano from prices where valid @> now()"
                                                   " and ($1 = '' or model_id = nullif($1, '')::bigint) order by meter",
                                                   model)) {
        all.prices[row[0].as<ModelId>()][row[1].as<std::string>()] = coins_json(NanoCoins(row[2].as<std::int64_t>()));
    }
    if (call.services.recent_requests != nullptr) all.counts = call.services.recent_requests->counts(transaction);
    all.reports = call.services.endpoints.reports();
    return all;
}

constexpr const char* kModels =
    "select id, name, disabled, hide_when_blocked, needs_ack, context_window, max_output_tokens, card::text card"
    " from models where not removed";

Json number_or_null(const pqxx::row& row, const char* column) {
    return row[column].is_null() ? Json(nullptr) : Json(row[column].as<std::int64_t>());
}

Json member_or(const Json& card, const char* name, Json otherwise) {
    const auto found = card.find(name);
    return found == card.end() ? otherwise : *found;
}

bool is_up(const EndpointReport& report) {
    return report.life != EndpointLife::down;
}

EndpointReport report_of(const Surroundings& all, EndpointId id) {
    const auto found = all.reports.find(id);
    return found == all.reports.end() ? EndpointReport{} : found->second;
}

Json endpoint_states(const std::vector<Endpoint>& endpoints, const Surroundings& all) {
    Json states = Json::array();
    for (const Endpoint& endpoint : endpoints) {
        const EndpointReport report = report_of(all, endpoint.id);
        const bool known = report.life != EndpointLife::unknown;
        states.push_back({{"id", endpoint.name},
                          {"healthy", known ? Json(is_up(report)) : Json(nullptr)},
                          {"reason", report.reason.empty() ? Json(nullptr) : Json(report.reason)}});
    }
    return states;
}

Json model_json(const pqxx::row& row, const Surroundings& all) {
    const auto id = row["id"].as<ModelId>();
    const Json card = parse_json(row["card"].c_str()).value_or(Json::object());
    const auto own = all.endpoints.find(id);
    const std::vector<Endpoint> endpoints = own == all.endpoints.end() ? std::vector<Endpoint>{} : own->second;
    std::vector<EndpointId> ids;
    std::int64_t healthy = 0;
    std::int64_t checked_ms = 0;
    for (const Endpoint& endpoint : endpoints) {
        const EndpointReport report = report_of(all, endpoint.id);
        ids.push_back(endpoint.id);
        healthy += is_up(report) ? 1 : 0;
        checked_ms = std::max(checked_ms, report.checked_ms);
    }
    const auto prices = all.prices.find(id);
    const auto counts = all.counts.find(id);
    const auto requests = counts == all.counts.end() ? RecentRequests::Counts{} : counts->second;
    return {{"name", row["name"].as<std::string>()},
            {"description", member_or(card, "description", "")},
            {"url", member_or(card, "url", "")},
            {"prices", prices == all.prices.end() ? Json::object() : prices->second},
            {"context_window", number_or_null(row, "context_window")},
            {"max_output_tokens", number_or_null(row, "max_output_tokens")},
            {"knowledge_cutoff", member_or(card, "knowledge_cutoff", nullptr)},
            {"supports_reasoning", member_or(card, "supports_reasoning", nullptr)},
            {"supports_function_calling", member_or(card, "supports_function_calling", nullptr)},
            {"input_modalities", member_or(card, "input_modalities", Json::array())},
            {"output_modalities", member_or(card, "output_modalities", Json::array())},
            {"status", model_status_name(model_status(row["disabled"].as<bool>(), ids, all.reports))},
            {"healthy", healthy},
            {"endpoints", endpoints.size()},
            {"last_checked_at", utc_json(checked_ms)},
            {"needs_ack", row["needs_ack"].as<bool>()},
            {"requests_1h", requests.hour},
            {"requests_24h", requests.day}};
}

bool is_user(const Call& call) {
    return call.caller.kind == CallerKind::user;
}

/// What the signed-in person has of it: `own` is a row of GET /me/models.
void add_own(Json& model, const Json& own) {
    for (const char* member : {"access", "notice_html", "notice_version", "consented_at"}) model[member] = own[member];
    model["use"] = {{"requests", own["requests"]},
                    {"tokens", own["tokens"]},
                    {"coins", own["coins"]},
                    {"last_used_at", own["last_used_at"]}};
}

bool is_blocked(const Json& own) {
    return own.is_null() || own["access"] == "blocked";
}

}  // namespace

Answer get_models(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    std::map<std::string, Json> own;
    if (is_user(call)) {
        for (Json& row : models_of_account(call, transaction, call.caller.account)) {
            std::string name = row["model"].get<std::string>();
            own.emplace(std::move(name), std::move(row));
        }
    }
    const Surroundings all = read_surroundings(call, transaction, std::nullopt);
    Json data = Json::array();
    for (const auto& row : transaction.exec(std::string(kModels) + " and not disabled order by name limit " +
                                            std::to_string(kMostModels))) {
        const auto known = own.find(row["name"].as<std::string>());
        // A model that is hidden from those it is blocked for is nobody's before they sign in.
        if (is_user(call) ? known == own.end() || is_blocked(known->second) : row["hide_when_blocked"].as<bool>()) {
            continue;
        }
        Json model = model_json(row, all);
        if (known != own.end()) add_own(model, known->second);
        data.push_back(std::move(model));
    }
    return {200, {{"data", std::move(data)}, {"next_cursor", nullptr}, {"prev_cursor", nullptr}}};
}

Answer get_model(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto rows = transaction.exec_params(std::string(kModels) + " and name = $1", call.path.at(0));
    if (rows.empty()) return not_found();
    const auto id = rows[0]["id"].as<ModelId>();
    const Json own = is_user(call) ? model_of_account(call, transaction, call.caller.account, id) : Json(nullptr);
    if (rows[0]["hide_when_blocked"].as<bool>() && is_blocked(own)) return not_found();
    const Surroundings all = read_surroundings(call, transaction, id);
    Json model = model_json(rows[0], all);
    if (!own.is_null()) add_own(model, own);
    if (is_user(call) && call.caller.is_admin) {
        const auto endpoints = all.endpoints.find(id);
        model["endpoint_states"] =
            endpoints == all.endpoints.end() ? Json::array() : endpoint_states(endpoints->second, all);
    }
    return {200, std::move(model)};
}

Answer get_readme(const Call& call) {
    std::string url;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto rows = transaction.exec_params(std::string(kModels) + " and name = $1", call.path.at(0));
        if (rows.empty()) return not_found();
        if (rows[0]["hide_when_blocked"].as<bool>()) {
            const Json own = is_user(call)
                                 ? model_of_account(call, transaction, call.caller.account, rows[0]["id"].as<ModelId>())
                                 : Json(nullptr);
            if (is_blocked(own)) return not_found();
        }
        url = member_or(parse_json(rows[0]["card"].c_str()).value_or(Json::object()), "url", "").get<std::string>();
    }
    const auto html = call.services.remote_pages == nullptr ? std::nullopt : call.services.remote_pages->readme(url);
    if (!html) return Problem{502, "readme_unavailable", "README unavailable."};
    return {200, {{"html", html->text()}}};
}

}  // namespace lumen::admind

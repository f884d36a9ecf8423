// Models as a person has them (access, use, status), and consents.
#include <algorithm>
#include <map>

#include "admind/ledger/live_updates.h"
#include "admind/people/account_rules.h"
#include "admind/people/account_view.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/handlers.h"
#include "admind/rest/request_fields.h"
#include "admind/stores/pg_statement.h"
#include "admind/text/markdown.h"

namespace lumen::admind {

namespace {

struct ModelEntry {
    ModelId id = 0;
    std::string name;
    Badge badge = Badge::blocked;
    ModelStatus status = ModelStatus::ok;
    bool disabled = false;
    std::int64_t requests = 0;
    std::int64_t tokens = 0;
    std::int64_t spent_nano = 0;
    std::int64_t last_used_ms = 0;
    Json json;
};

constexpr Statement kEndpointsOfModels{"endpoints_of_models",
                                       "select model_id, id from endpoints where not removed and ($1 = '' or model_id "
                                       "= nullif($1, '')::bigint) order by id"};

/// `model`: its id, or empty for all.
std::map<ModelId, std::vector<EndpointId>> endpoints_by_model(pqxx::transaction_base& transaction,
                                                              const std::string& model) {
    std::map<ModelId, std::vector<EndpointId>> endpoints;
    for (const auto& row : exec_prepared(transaction, kEndpointsOfModels, model)) {
        endpoints[row[0].as<ModelId>()].push_back(row[1].as<EndpointId>());
    }
    return endpoints;
}

constexpr Statement kModelsOfAccount{
    "models_of_account",
    "select m.id, m.name, m.disabled, m.access, m.needs_ack, m.ack_message, m.notice_version, m.consent_since,"
    " coalesce(u.requests, 0) requests, coalesce(u.tokens_in + u.tokens_out, 0) tokens, coalesce(u.spent, 0) spent,"
    " coalesce((extract(epoch from u.last_used_at) * 1000)::bigint, 0) last_used_ms,"
    " coalesce((extract(epoch from c.at) * 1000)::bigint, 0) consented_ms, c.by_name consented_by"
    " from models m"
    " left join model_totals u on u.account_id = $1 and u.model_id = m.id"
    " left join (select distinct on (d.model_id) d.model_id, d.notice_ver, d.at, p.name by_name"
    " from consents d left join users p on p.id = d.by_user where d.account_id = $1"
    " order by d.model_id, d.notice_ver desc) c on c.model_id = m.id and c.notice_ver >= m.consent_since"
    " where not m.removed and ($2 = '' or m.id = nullif($2, '')::bigint)"};

ModelRule rule_of(const pqxx::row& row) {
    ModelRule rule;
    rule.id = row["id"].as<ModelId>();
    if (!row["access"].is_null())
        rule.access = row["access"].as<int>() == 1 ? AccessRule::allowed : AccessRule::blocked;
    rule.needs_ack = row["needs_ack"].as<bool>();
    return rule;
}

ModelEntry entry_of(const pqxx::row& row, const RulesOfAccount& rules, ModelStatus status) {
    ModelEntry entry;
    entry.id = row["id"].as<ModelId>();
    entry.name = row["name"].as<std::string>();
    entry.disabled = row["disabled"].as<bool>();
    entry.status = status;
    const ModelRule rule = rule_of(row);
    const AccessResult access = resolve_model(rules.book, rules.own, rule);
    const auto consented_ms = row["consented_ms"].as<std::int64_t>();
    entry.badge = access_badge(access.rule, rule.needs_ack, consented_ms > 0);
    entry.requests = row["requests"].as<std::int64_t>();
    entry.tokens = row["tokens"].as<std::int64_t>();
    entry.spent_nano = row["spent"].as<std::int64_t>();
    entry.last_used_ms = row["last_used_ms"].as<std::int64_t>();
    entry.json = {{"model", entry.name}};
    put_use(entry.json, row);
    entry.json["access"] = badge_name(entry.badge);
    entry.json["source"] = access_source_name(access.source);
    entry.json["status"] = model_status_name(entry.status);
    const bool has_notice = rule.needs_ack && !std::string_view(row["ack_message"].c_str()).empty();
    entry.json["notice"] = rule.needs_ack ? Json(row["ack_message"].as<std::string>()) : Json(nullptr);
    entry.json["notice_html"] = has_notice ? Json(render_markdown(row["ack_message"].c_str()).text()) : Json(nullptr);
    entry.json["notice_version"] = row["notice_version"].as<int>();
    entry.json["consented_at"] = rule.needs_ack ? utc_json(consented_ms) : Json(nullptr);
    const bool by_known = rule.needs_ack && !row["consented_by"].is_null();
    entry.json["consented_by"] = by_known ? Json(row["consented_by"].as<std::string>()) : Json(nullptr);
    return entry;
}

/// All of them, or one.
std::vector<ModelEntry> read_models_of(const Call& call, pqxx::transaction_base& transaction, AccountId account,
                                       const RulesOfAccount& rules, std::optional<ModelId> only) {
    const std::string model = only ? std::to_string(*only) : std::string();
    const auto endpoints = endpoints_by_model(transaction, model);
    const auto reports = call.services.endpoints.reports();
    const auto status_of = [&](const pqxx::row& row) {
        const auto own = endpoints.find(row["id"].as<ModelId>());
        return model_status(row["disabled"].as<bool>(),
                            own == endpoints.end() ? std::vector<EndpointId>{} : own->second, reports);
    };
    std::vector<ModelEntry> models;
    for (const auto& row : exec_prepared(transaction, kModelsOfAccount, account, model)) {
        models.push_back(entry_of(row, rules, status_of(row)));
    }
    return models;
}

std::vector<ModelEntry> read_models_of(const Call& call, pqxx::transaction_base& transaction, AccountId account) {
    return read_models_of(call, transaction, account, read_rules_of(transaction, call.settings, account), std::nullopt);
}

using Before = bool (*)(const ModelEntry&, const ModelEntry&);
struct ModelOrder {
    const char* name;
    Before before;
};
/// P63: Need Consent, Consented, Allowed, Blocked; down, degraded, ok, disabled.
int status_rank(ModelStatus status) {
    switch (status) {
        case ModelStatus::down:
            return 0;
        case ModelStatus::degraded:
            return 1;
        case ModelStatus::ok:
            return 2;
        case ModelStatus::disabled:
            return 3;
    }
    return 3;
}
constexpr ModelOrder kModelOrders[] = {
    {"model", [](const ModelEntry& a, const ModelEntry& b) { return a.name < b.name; }},
    {"requests", [](const ModelEntry& a, const ModelEntry& b) { return a.requests < b.requests; }},
    {"tokens", [](const ModelEntry& a, const ModelEntry& b) { return a.tokens < b.tokens; }},
    {"coins", [](const ModelEntry& a, const ModelEntry& b) { return a.spent_nano < b.spent_nano; }},
    {"last_used_at", [](const ModelEntry& a, const ModelEntry& b) { return a.last_used_ms < b.last_used_ms; }},
    {"access", [](const ModelEntry& a, const ModelEntry& b) { return a.badge < b.badge; }},
    {"status", [](const ModelEntry& a, const ModelEntry& b) { return status_rank(a.status) < status_rank(b.status); }},
};

bool never_used(const ModelEntry& model) {
    return model.last_used_ms == 0;
}

std::optional<Problem> sort_models(std::vector<ModelEntry>& models, std::string sort) {
    const bool descending = !sort.empty() && sort.front() == '-';
    if (descending) sort.erase(0, 1);
    const auto order = std::find_if(std::begin(kModelOrders), std::end(kModelOrders),
                                    [&](const ModelOrder& known) { return sort == known.name; });
    if (order == std::end(kModelOrders)) {
        return Problem{400, "invalid_sort", "This list cannot be sorted by that."};
    }
    const bool by_time = sort == "last_used_at";
    std::sort(models.begin(), models.end(), [&](const ModelEntry& a, const ModelEntry& b) {
        if (by_time && never_used(a) != never_used(b)) return never_used(b);  // never comes last in either direction
        if (order->before(a, b)) return !descending;
        if (order->before(b, a)) return descending;
        return a.name < b.name;
    });
    return std::nullopt;
}

}  // namespace

std::variant<Json, Problem> models_page(const Call& call, pqxx::transaction_base& transaction, AccountId account,
                                        Disabled disabled, const HttpRequest& page_of) {
    const int limit = read_limit(page_of);
    if (limit == 0) return Problem{400, "invalid_request", "limit must be 1 to 200."};
    const std::string sort = page_of.query_value("sort").value_or("model");
    const std::string wanted = page_of.query_value("q").value_or("");

    std::vector<ModelEntry> models = read_models_of(call, transaction, account);
    models.erase(std::remove_if(models.begin(), models.end(),
                                [&](const ModelEntry& model) {
                                    return (model.disabled && disabled == Disabled::hidden) ||
                                           model.name.find(wanted) == std::string::npos;
                                }),
                 models.end());
    if (auto problem = sort_models(models, sort)) return std::move(*problem);

    // There are at most a thousand models: the order is made here, and a cursor names the last one shown.
    auto begin = models.begin();
    if (const auto cursor = page_of.query_value("cursor")) {
        const auto content = decode_cursor(*cursor);
        const bool ours = content && content->contains("s") && content->contains("m") && (*content)["s"] == sort &&
                          (*content)["m"].is_string();
        const Problem wrong{400, "invalid_cursor", "The cursor is not of this list and order."};
        if (!ours) return wrong;
        const auto& last = (*content)["m"].get_ref<const std::string&>();
        begin = std::find_if(models.begin(), models.end(), [&](const ModelEntry& m) { return m.name == last; });
        if (begin == models.end()) return wrong;
        ++begin;
    }
    Json data = Json::array();
    Json next;
    for (auto model = begin; model != models.end(); ++model) {
        if (data.size() == static_cast<std::size_t>(limit)) {
            next = encode_cursor({{"s", sort}, {"m", std::prev(model)->name}});
            break;
        }
        data.push_back(std::move(model->json));
    }
    Json page{{"data", std::move(data)}, {"next_cursor", std::move(next)}, {"prev_cursor", nullptr}};
    if (page_of.query_value("count") == "true") page["total"] = models.size();
    return page;
}

Json all_models_page(const Call& call, pqxx::transaction_base& transaction, AccountId account,
                     const RulesOfAccount& rules) {
    std::vector<ModelEntry> models = read_models_of(call, transaction, account, rules, std::nullopt);
    std::sort(models.begin(), models.end(), [](const ModelEntry& a, const ModelEntry& b) { return a.name < b.name; });
    Json data = Json::array();
    for (ModelEntry& model : models) {
        if (!model.disabled) data.push_back(std::move(model.json));
    }
    return {{"data", std::move(data)}, {"next_cursor", nullptr}, {"prev_cursor", nullptr}};
}

Json models_of_account(const Call& call, pqxx::transaction_base& transaction, AccountId account) {
    Json models = Json::array();
    for (ModelEntry& entry : read_models_of(call, transaction, account)) models.push_back(std::move(entry.json));
    return models;
}

Json model_of_account(const Call& call, pqxx::transaction_base& transaction, AccountId account, ModelId model) {
    const RulesOfAccount rules = read_rules_of(transaction, call.settings, account);
    std::vector<ModelEntry> models = read_models_of(call, transaction, account, rules, model);
    return models.empty() ? Json(nullptr) : std::move(models.front().json);
}

Answer list_models(const Call& call, AccountId account) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const Disabled disabled = call.http.query_value("disabled") == "true" ? Disabled::shown : Disabled::hidden;
    return answer_of(models_page(call, transaction, account, disabled, call.http));
}

Answer get_my_models(const Call& call) {
    return list_models(call, call.caller.account);
}

namespace {

constexpr std::size_t kLongestModelName = 128;

/// What stands between this account and a consent to this model; `id` is set if nothing does.
struct ConsentCheck {
    std::optional<Problem> refusal;
    ModelId id = 0;
};

ConsentCheck check_consent(const Call& call, pqxx::transaction_base& transaction, AccountId account,
                           const std::string& model, std::int64_t notice_version) {
    const auto rows = transaction.exec_params(
        "select id, name, disabled, access, needs_ack, notice_version, hide_when_blocked from models"
        " where name = $1 and not removed",
        model);
    if (rows.empty()) return {not_found(), 0};
    const auto& row = rows[0];
    const ModelRule rule = rule_of(row);
    const RulesOfAccount rules = read_rules_of(transaction, call.settings, account);
    const AccessResult access = resolve_model(rules.book, rules.own, rule);
    if (access.rule == AccessRule::blocked) {
        if (row["hide_when_blocked"].as<bool>()) return {not_found(), 0};
        return {Problem{403, "model_access_denied", "This model is not available to you."}, 0};
    }
    if (row["disabled"].as<bool>()) return {Problem{409, "model_disabled", "This model is turned off."}, 0};
    if (!rule.needs_ack) return {Problem{409, "consent_not_needed", "This model asks for no consent."}, 0};
    if (row["notice_version"].as<std::int64_t>() != notice_version) {
        return {Problem{409, "notice_changed", "The notice has changed. Read it again."}, 0};
    }
    return {std::nullopt, rule.id};
}

}  // namespace

Answer give_consent(const Call& call, AccountId account) {
    RequestFields fields(call.body);
    const auto model = fields.text("model", Need::required, kLongestModelName);
    const auto version = fields.integer("notice_version", Need::required, 1, INT32_MAX);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    bool fresh = false;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        ConsentCheck check = check_consent(call, transaction, account, *model, *version);
        if (check.refusal) return Answer(std::move(*check.refusal));
        fresh = insert_consent(transaction, account, check.id, static_cast<std::int32_t>(*version), call.caller.user);
        transaction.commit();
    }
    if (call.services.ledger.enforce_account(account) == InForce::not_yet) return not_yet_in_force();
    tell_pages(call.services.redis, account,
               {LiveEventKind::model, to_text({{"model", *model}, {"access", "consented"}})});
    return {fresh ? 201 : 200, {{"model", *model}, {"notice_version", *version}, {"access", "consented"}}};
}

Answer post_my_consent(const Call& call) {
    return give_consent(call, call.caller.account);
}

}  // namespace lumen::admind

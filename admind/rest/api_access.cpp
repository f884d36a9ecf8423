// Who may use which model: an account's own rules, and why the answer is what it is (spec/rest.md §4).
#include "admind/people/account_rules.h"
#include "admind/people/account_setup.h"
#include "admind/people/account_view.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/request_fields.h"
#include "admind/stores/pg_values.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kMostModelsInList = 1000;
constexpr std::size_t kLongestModelName = 128;

const char* rule_word(AccessRule rule) {
    return rule == AccessRule::allowed ? "allowed" : "blocked";
}

Json rule_json(const std::optional<AccessRule>& rule) {
    return rule ? Json(rule_word(*rule)) : Json(nullptr);
}

Json access_rules_json(pqxx::transaction_base& transaction, AccountId account) {
    const auto rows = transaction.exec_params(
        "select access_default, to_jsonb(allowed)::text, to_jsonb(blocked)::text from account_rules"
        " where account_id = $1",
        account);
    if (rows.empty()) return {{"default", nullptr}, {"allowed", Json::array()}, {"blocked", Json::array()}};
    const auto& row = rows[0];
    return {{"default", row[0].is_null() ? Json(nullptr) : Json(row[0].as<int>() == 1 ? "allowed" : "blocked")},
            {"allowed", parse_json(row[1].c_str()).value_or(Json::array())},
            {"blocked", parse_json(row[2].c_str()).value_or(Json::array())}};
}

void check_names(pqxx::transaction_base& transaction, RequestFields& fields, const char* name,
                 const std::vector<std::string>& models) {
    for (const std::string& model : models) {
        if (transaction.exec_params("select 1 from models where name = $1 and not removed", model).empty()) {
            fields.error(name, "unknown_model", "there is no model `" + model + "`");
        }
    }
}

}  // namespace

Answer put_account_access(const Call& call) {
    const auto account = call.path_id(0);
    if (!account) return not_found();
    RequestFields fields(call.body);
    const auto fallback = fields.word("default", Need::optional, {"allowed", "blocked"});
    const auto allowed = fields.texts("allowed", kMostModelsInList, kLongestModelName);
    const auto blocked = fields.texts("blocked", kMostModelsInList, kLongestModelName);
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        check_names(transaction, fields, "allowed", allowed);
        check_names(transaction, fields, "blocked", blocked);
        if (auto refused = fields.refusal()) return Answer(std::move(*refused));
        const auto wallet = read_wallet(transaction, *account);
        if (!wallet) return not_found();
        if (!if_match(call.http, account_etag(*wallet))) return changed_meanwhile();
        const auto from =
            transaction.exec_params("select access_from from account_rules where account_id = $1", *account);
        if (!from.empty() && from[0][0].as<std::string>("") == "config") {
            return Problem{409, "managed_by_config", "lumen.yaml states the rules of this account."};
        }
        const Json before = access_rules_json(transaction, *account);
        transaction.exec_params0(
            "insert into account_rules (account_id, access_from, access_default, allowed, blocked)"
            " values ($1, 'admin', nullif($2, '')::smallint, array(select jsonb_array_elements_text($3::jsonb)),"
            " array(select jsonb_array_elements_text($4::jsonb)))"
            " on conflict (account_id) do update set access_from = 'admin', access_default = excluded.access_default,"
            " allowed = excluded.allowed, blocked = excluded.blocked",
            *account, fallback ? std::string(*fallback == "allowed" ? "1" : "0") : std::string(), sql_texts(allowed),
            sql_texts(blocked));
        audit(transaction, call, "account.access", "account:" + std::to_string(*account),
              access_rules_json(transaction, *account), before);
        transaction.commit();
    }
    if (settle_account_rules(call.services, call.settings, *account) == InForce::not_yet) return not_yet_in_force();
    return get_account(call);
}

namespace {

struct ExplainedModel {
    ModelRule rule;
    bool disabled = false;
    bool hidden_when_blocked = false;
    bool consented = false;
};

std::optional<ExplainedModel> find_model(pqxx::transaction_base& transaction, AccountId account,
                                         const std::string& name) {
    const auto rows = transaction.exec_params(
        "select m.id, m.access, m.needs_ack, m.disabled, m.hide_when_blocked,"
        " exists (select from consents c where c.account_id = $1 and c.model_id = m.id"
        " and c.notice_ver >= m.consent_since) from models m where m.name = $2 and not m.removed",
        account, name);
    if (rows.empty()) return std::nullopt;
    const auto& row = rows[0];
    ExplainedModel model;
    model.rule.id = row[0].as<ModelId>();
    if (!row[1].is_null()) model.rule.access = row[1].as<int>() == 1 ? AccessRule::allowed : AccessRule::blocked;
    model.rule.needs_ack = row[2].as<bool>();
    model.disabled = row[3].as<bool>();
    model.hidden_when_blocked = row[4].as<bool>();
    model.consented = row[5].as<bool>();
    return model;
}

std::optional<AccessRule> rule_for(const AccessRules& rules, ModelId model) {
    const auto found = rules.models.find(model);
    return found == rules.models.end() ? std::nullopt : std::optional(found->second);
}

/// Every step in its order, with what it found; the first that found anything decides.
Json steps_json(const RuleBook& book, const AccountRules& rules, const ModelRule& model) {
    Json steps = Json::array();
    bool decided = false;
    const auto step = [&](const std::string& name, const std::optional<AccessRule>& found, bool decides) {
        steps.push_back({{"step", name}, {"found", rule_json(found)}, {"decides", decides}});
        decided = decided || decides;
    };
    const auto groups = [&](const char* what, bool block_wins, const auto& said_by) {
        std::optional<AccessRule> result;
        std::vector<std::pair<std::string, std::optional<AccessRule>>> found;
        for (const std::int64_t id : rules.groups) {
            const auto group = book.groups.find(id);
            if (group == book.groups.end() || !group->second.active) continue;
            const auto said = said_by(group->second);
            found.emplace_back(what + group->second.name, said);
            const AccessRule stronger = block_wins ? AccessRule::blocked : AccessRule::allowed;
            if (said && (!result || *said == stronger)) result = said;
        }
        bool first = !decided;
        for (const auto& [name, said] : found) {
            const bool decides = first && said && said == result;
            step(name, said, decides);
            first = first && !decides;
        }
    };
    const auto single = [&](const char* name, const std::optional<AccessRule>& found) {
        step(name, found, !decided && found.has_value());
    };
    single("own rule", rule_for(rules.access, model.id));
    groups("rule of group ", true, [&](const GroupRow& group) { return rule_for(group.access, model.id); });
    single("the model's access", model.access);
    groups("default of group ", false, [](const GroupRow& group) { return group.access.fallback; });
    single("own default", rules.access.fallback);
    single("defaults.models.access", book.site_access);
    return steps;
}

/// What /v1 would say to a good key of this account, as far as rates and coins held do not matter.
std::string refusal_of(const Settings& settings, const Wallet& wallet, const LiveBalance& live,
                       const ExplainedModel& model, Badge badge) {
    if (!wallet.active) return "account_disabled";
    if (model.disabled) return "model_not_found";
    if (badge == Badge::blocked) return model.hidden_when_blocked ? "model_not_found" : "model_access_denied";
    if (badge == Badge::need_consent && settings.api.consent) return "model_consent_required";
    if (wallet.unlimited) return "";
    if (!wallet.limit) return "no_budget";
    if (*wallet.limit == NanoCoins(0) || live.balance <= NanoCoins(0)) return "insufficient_quota";
    return "";
}

}  // namespace

Answer get_access(const Call& call) {
    const auto account_text = call.http.query_value("account");
    const auto model_name = call.http.query_value("model");
    const auto account = account_text ? parse_id(*account_text) : std::nullopt;
    if (!account || !model_name) return Problem{400, "invalid_request", "Name an account (its id) and a model."};
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto wallet = read_wallet(transaction, *account);
    const auto model = find_model(transaction, *account, *model_name);
    if (!wallet || !model) return not_found();
    const auto [book, rules] = read_rules_of(transaction, call.settings, *account);
    const AccessResult access = resolve_model(book, rules, model->rule);
    const Badge badge = access_badge(access.rule, model->rule.needs_ack, model->consented);
    const std::string refusal =
        refusal_of(call.settings, *wallet, balance_of(call.services.redis, *wallet), *model, badge);
    return {200,
            {{"account", id_json(*account)},
             {"model", *model_name},
             {"access", badge_name(badge)},
             {"source", access_source_name(access.source)},
             {"served", refusal.empty()},
             {"refusal", refusal.empty() ? Json(nullptr) : Json(refusal)},
             {"steps", steps_json(book, rules, model->rule)}}};
}

}  // namespace lumen::admind

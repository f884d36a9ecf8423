#include "admind/people/settings_apply.h"

#include <array>

#include "admind/people/secret_rotation.h"
#include "admind/people/site_state.h"
#include "admind/settings/group_rules.h"
#include "admind/stores/pg_values.h"
#include "admind/text/json.h"
#include "lumen_core/catalogue.h"

namespace lumen::admind {

namespace {

/// Names the advisory lock between applying the file and what must not happen meanwhile.
constexpr const char* kApplyLock = "lumen settings";

std::string access_number(const std::optional<AccessRule>& rule) {
    return rule ? std::to_string(static_cast<int>(*rule)) : std::string();
}

std::string max_number(const std::optional<BudgetRule>& budget) {
    if (!budget) return "";
    switch (budget->kind) {
        case MaxKind::unlimited:
            return "-2";
        case MaxKind::zero:
            return "0";
        case MaxKind::limited:
            return std::to_string(budget->max.nano());
    }
    return "";
}

std::string refresh_number(const std::optional<BudgetRule>& budget) {
    return budget ? std::to_string(budget->refresh.nano()) : std::string();
}

std::string starting_number(const std::optional<BudgetRule>& budget) {
    return budget ? std::to_string(budget->starting.nano()) : std::string();
}

// ---- models

Json card_of(const ModelSettings& model) {
    Json card = Json::object();
    const auto put = [&](const char* key, const std::string& text) {
        if (!text.empty()) card[key] = text;
    };
    put("description", model.description);
    put("url", model.url);
    put("notice", model.notice);
    put("knowledge_cutoff", model.knowledge_cutoff);
    if (model.supports_reasoning) card["supports_reasoning"] = *model.supports_reasoning;
    if (model.supports_function_calling) card["supports_function_calling"] = *model.supports_function_calling;
    if (!model.input_modalities.empty()) card["input_modalities"] = model.input_modalities;
    if (!model.output_modalities.empty()) card["output_modalities"] = model.output_modalities;
    return card;
}

}  // namespace

ModelId apply_model(pqxx::transaction_base& transaction, const ModelSettings& model, ManagedBy by) {
    return transaction
        .exec_params1(
            "insert into models (name, disabled, access, hide_when_blocked, needs_ack, ack_message, prefix_affinity,"
            " context_window, max_output_tokens, card, managed_by)"
            " values ($1, $2, nullif($3, '')::smallint, $4, $5, $6, $7, nullif($8, '0')::bigint,"
            " nullif($9, '0')::bigint, $10::jsonb, $11)"
            " on conflict (name) do update set disabled = excluded.disabled, removed = false, access = excluded.access,"
            " hide_when_blocked = excluded.hide_when_blocked, needs_ack = excluded.needs_ack,"
            " notice_version = models.notice_version"
            " + case when models.ack_message <> excluded.ack_message then 1 else 0 end,"
            " ack_message = excluded.ack_message, prefix_affinity = excluded.prefix_affinity,"
            " context_window = excluded.context_window, max_output_tokens = excluded.max_output_tokens,"
            " card = excluded.card, managed_by = excluded.managed_by returning id",
            model.name, model.disabled, access_number(model.access), model.hide_when_blocked, model.needs_ack,
            model.ack_message, model.prefix_affinity, std::to_string(model.context_window),
            std::to_string(model.max_output_tokens), to_text(card_of(model)), managed_by_name(by))[0]
        .as<ModelId>();
}

namespace {

struct Meter {
    const char* name;
    NanoCoins Price::*price;
};
constexpr std::array<Meter, 9> kMeters{{{"input_per_million", &Price::input_per_million},
                                        {"cached_per_million", &Price::cached_per_million},
                                        {"cache_write_per_million", &Price::cache_write_per_million},
                                        {"output_per_million", &Price::output_per_million},
                                        {"reasoning_per_million", &Price::reasoning_per_million},
                                        {"characters_per_million", &Price::characters_per_million},
                                        {"audio_per_hour", &Price::audio_per_hour},
                                        {"image", &Price::image},
                                        {"request", &Price::request}}};

}  // namespace

void apply_prices(pqxx::transaction_base& transaction, ModelId id, const std::vector<PricePoint>& prices,
                  std::int64_t now_ms) {
    const Price* now = &prices.front().price;
    std::vector<const PricePoint*> planned;
    for (const PricePoint& point : prices) {
        if (point.from_ms <= now_ms)
            now = &point.price;
        else
            planned.push_back(&point);
    }
    transaction.exec_params0("delete from prices where model_id = $1 and lower(valid) > now()", id);
    transaction.exec_params0(
        "update prices set valid = tstzrange(lower(valid), null)"
        " where model_id = $1 and valid @> now() and upper(valid) is not null",
        id);
    bool changed = false;
    for (const Meter& meter : kMeters) {
        const std::int64_t nano = (now->*meter.price).nano();
        const auto row = transaction.exec_params(
            "select nano from prices where model_id = $1 and meter = $2 and valid @> now()", id, meter.name);
        if (!row.empty() && row[0][0].as<std::int64_t>() == nano) continue;
        changed = true;
        transaction.exec_params0(
            "update prices set valid = tstzrange(lower(valid), now())"
            " where model_id = $1 and meter = $2 and valid @> now()",
            id, meter.name);
        transaction.exec_params0(
            "insert into prices (model_id, meter, nano, valid)"
            " values ($1, $2, $3, tstzrange(case when $4 then 'epoch' else now() end, null))",
            id, meter.name, nano, row.empty());
    }
    if (changed) {
        transaction.exec_params0(
            "insert into price_points (model_id, since) select $1, max(lower(valid)) from prices"
            " where model_id = $1 and valid @> now() on conflict do nothing",
            id);
    }
    for (const PricePoint* point : planned) {
        for (const Meter& meter : kMeters) {
            transaction.exec_params0(
                "update prices set valid = tstzrange(lower(valid), to_timestamp($3::numeric / 1000))"
                " where model_id = $1 and meter = $2 and upper(valid) is null",
                id, meter.name, point->from_ms);
            transaction.exec_params0(
                "insert into prices (model_id, meter, nano, valid)"
                " values ($1, $2, $3, tstzrange(to_timestamp($4::numeric / 1000), null))",
                id, meter.name, (point->price.*meter.price).nano(), point->from_ms);
        }
        transaction.exec_params0(
            "insert into price_points (model_id, since)"
            " values ($1, to_timestamp($2::numeric / 1000)) on conflict do nothing",
            id, point->from_ms);
    }
    // A plan that was dropped leaves a point behind; nothing refers to one that never began.
    transaction.exec_params0(
        "delete from price_points where model_id = $1 and since > now()"
        " and not exists (select from prices p where p.model_id = price_points.model_id"
        " and lower(p.valid) = price_points.since)",
        id);
}

void apply_endpoint(pqxx::transaction_base& transaction, ModelId model, const EndpointSettings& endpoint,
                    const std::string& installation_secret) {
    const auto row = transaction.exec_params1(
        "insert into endpoints (model_id, name, url, upstream_model, weight, state, continuous_usage)"
        " values ($1, $2, $3, $4, $5, $6, $7)"
        " on conflict (model_id, name) do update set url = excluded.url, upstream_model = excluded.upstream_model,"
        " weight = excluded.weight, state = excluded.state,"
        " continuous_usage = excluded.continuous_usage, removed = false returning id, credential",
        model, endpoint.id, endpoint.url, endpoint.model, endpoint.weight, endpoint.draining ? "draining" : "active",
        endpoint.continuous_usage);
    const auto id = row[0].as<std::string>();
    const auto sealed = row[1].as<std::string>();
    const auto stored =
        sealed.empty() ? std::optional<std::string>("") : unseal_credential(installation_secret, id, sealed);
    if (stored == endpoint.api_key) return;
    transaction.exec_params0(
        "update endpoints set credential = $2 where id = $1", id,
        endpoint.api_key.empty() ? std::string() : seal_credential(installation_secret, id, endpoint.api_key));
}

std::string endpoint_credential(pqxx::transaction_base& transaction, ModelId model, const std::string& endpoint,
                                const AppSettings& app) {
    const auto rows = transaction.exec_params(
        "select id, credential from endpoints where model_id = $1 and name = $2 and not removed", model, endpoint);
    if (rows.empty() || rows[0][1].as<std::string>().empty()) return "";
    return unseal_credential(app.encryption_key, app.previous_encryption_key, rows[0][0].as<std::string>(),
                             rows[0][1].as<std::string>())
        .value_or("");
}

namespace {

void apply_models(pqxx::transaction_base& transaction, const Settings& settings) {
    std::vector<std::string> names;
    const std::int64_t now_ms = unix_ms_now();
    for (const ModelSettings& model : settings.models) {
        names.push_back(model.name);
        const ModelId id = apply_model(transaction, model, ManagedBy::config);
        apply_prices(transaction, id, model.prices, now_ms);
        std::vector<std::string> endpoints;
        for (const EndpointSettings& endpoint : model.endpoints) {
            endpoints.push_back(endpoint.id);
            apply_endpoint(transaction, id, endpoint, settings.app.encryption_key);
        }
        transaction.exec_params0(
            "update endpoints set removed = true, credential = ''"
            " where model_id = $1 and not removed"
            " and name not in (select jsonb_array_elements_text($2::jsonb))",
            id, sql_texts(endpoints));
    }
    transaction.exec_params0(
        "update models set removed = true, disabled = true"
        " where not removed and managed_by = 'config' and name not in (select jsonb_array_elements_text($1::jsonb))",
        sql_texts(names));
}

// ---- groups

}  // namespace

void apply_group(pqxx::transaction_base& transaction, const GroupSettings& group, ManagedBy by) {
    Json rules = Json::array();
    for (const ClaimRule& rule : group.rules) {
        Json entry{{"field", rule.field}};
        if (rule.contains) entry["contains"] = *rule.contains;
        if (rule.equals) entry["equals"] = *rule.equals;
        rules.push_back(std::move(entry));
    }
    transaction.exec_params0(
        "insert into groups (name, description, active, max_nano, refresh_nano, starting_nano, strict,"
        " access_default, allowed, blocked, rules, managed_by)"
        " values ($1, $2, $12, nullif($3, '')::bigint, nullif($4, '')::bigint, nullif($5, '')::bigint,"
        " nullif($6, '')::boolean, nullif($7, '')::smallint,"
        " array(select jsonb_array_elements_text($8::jsonb)), array(select jsonb_array_elements_text($9::jsonb)),"
        " $10::jsonb, $11)"
        " on conflict (name) do update set description = excluded.description, active = excluded.active,"
        " max_nano = excluded.max_nano, refresh_nano = excluded.refresh_nano,"
        " starting_nano = excluded.starting_nano, strict = excluded.strict,"
        " access_default = excluded.access_default, allowed = excluded.allowed, blocked = excluded.blocked,"
        " rules = excluded.rules, managed_by = excluded.managed_by",
        group.name, group.description, max_number(group.budget), refresh_number(group.budget),
        starting_number(group.budget), sql_optional(group.strict), access_number(group.access.fallback),
        sql_texts(group.access.allowed), sql_texts(group.access.blocked), to_text(rules), managed_by_name(by),
        group.active);
}

namespace {

void apply_groups(pqxx::transaction_base& transaction, const Settings& settings) {
    std::vector<std::string> names;
    for (const GroupSettings& group : settings.groups) {
        names.push_back(group.name);
        apply_group(transaction, group, ManagedBy::config);
    }
    transaction.exec_params0(
        "update groups set active = false where active and managed_by = 'config'"
        " and name not in (select jsonb_array_elements_text($1::jsonb))",
        sql_texts(names));
}

// ---- users

std::vector<std::string> groups_of_user(const Settings& settings, const std::string& email) {
    std::vector<std::string> groups{"default"};
    groups.insert(groups.end(), settings.every_user_groups.begin(), settings.every_user_groups.end());
    if (const EntitySettings* user = settings.user(email)) {
        groups.insert(groups.end(), user->groups.begin(), user->groups.end());
    }
    if (settings.app.dev_user && settings.app.dev_user->email == email) {
        const auto& more = settings.app.dev_user->groups;
        groups.insert(groups.end(), more.begin(), more.end());
    }
    return groups;
}

void apply_own_rules(pqxx::transaction_base& transaction, const EntitySettings& user, AccountId account) {
    transaction.exec_params0(
        "insert into account_rules (account_id, limits_from, max_nano, refresh_nano, starting_nano, strict,"
        " access_from, access_default, allowed, blocked)"
        " values ($1, case when $2 <> '' or $5 <> '' then 'config' end, nullif($2, '')::bigint,"
        " nullif($3, '')::bigint, nullif($4, '')::bigint, nullif($5, '')::boolean,"
        " case when $6 then 'config' end, nullif($7, '')::smallint,"
        " array(select jsonb_array_elements_text($8::jsonb)), array(select jsonb_array_elements_text($9::jsonb)))"
        // What the file states replaces an administrator's word; where it is silent, theirs stands.
        " on conflict (account_id) do update set"
        " limits_from = coalesce(excluded.limits_from, nullif(account_rules.limits_from, 'config')),"
        " max_nano = case when excluded.limits_from is null and account_rules.limits_from = 'admin'"
        " then account_rules.max_nano else excluded.max_nano end,"
        " refresh_nano = case when excluded.limits_from is null and account_rules.limits_from = 'admin'"
        " then account_rules.refresh_nano else excluded.refresh_nano end,"
        " starting_nano = case when excluded.limits_from is null and account_rules.limits_from = 'admin'"
        " then account_rules.starting_nano else excluded.starting_nano end,"
        " strict = case when excluded.limits_from is null and account_rules.limits_from = 'admin'"
        " then account_rules.strict else excluded.strict end,"
        " access_from = coalesce(excluded.access_from, nullif(account_rules.access_from, 'config')),"
        " access_default = case when excluded.access_from is null and account_rules.access_from = 'admin'"
        " then account_rules.access_default else excluded.access_default end,"
        " allowed = case when excluded.access_from is null and account_rules.access_from = 'admin'"
        " then account_rules.allowed else excluded.allowed end,"
        " blocked = case when excluded.access_from is null and account_rules.access_from = 'admin'"
        " then account_rules.blocked else excluded.blocked end",
        account, max_number(user.budget), refresh_number(user.budget), starting_number(user.budget),
        sql_optional(user.strict), user.access.said(), access_number(user.access.fallback),
        sql_texts(user.access.allowed), sql_texts(user.access.blocked));
}

constexpr const char* kInheritAgain =
    "update account_rules r set limits_from = case when limits_from = 'config' then null else limits_from end,"
    " max_nano = case when limits_from = 'config' then null else max_nano end,"
    " refresh_nano = case when limits_from = 'config' then null else refresh_nano end,"
    " starting_nano = case when limits_from = 'config' then null else starting_nano end,"
    " strict = case when limits_from = 'config' then null else strict end,"
    " access_from = case when access_from = 'config' then null else access_from end,"
    " access_default = case when access_from = 'config' then null else access_default end,"
    " allowed = case when access_from = 'config' then '{}' else allowed end,"
    " blocked = case when access_from = 'config' then '{}' else blocked end";

void apply_users(pqxx::transaction_base& transaction, const Settings& settings) {
    transaction.exec0("create temp table stated_memberships (account_id bigint, group_id bigint) on commit drop");
    const auto state_groups = [&](const std::string& email, const std::vector<std::string>& groups) {
        transaction.exec_params0(
            "insert into stated_memberships select u.account_id, g.id from users u, groups g"
            " where ($1 = '' or u.email = $1) and g.active"
            " and g.name in (select jsonb_array_elements_text($2::jsonb))",
            email, sql_texts(groups));
    };
    std::vector<std::string> every{"default"};
    every.insert(every.end(), settings.every_user_groups.begin(), settings.every_user_groups.end());
    state_groups("", every);
    std::vector<std::string> stated;
    for (const EntitySettings& user : settings.users) {
        stated.push_back(user.name);
        state_groups(user.name, user.groups);
        const auto account = transaction.exec_params("select account_id from users where email = $1", user.name);
        if (!account.empty()) apply_own_rules(transaction, user, account[0][0].as<AccountId>());
    }
    if (settings.app.dev_user) state_groups(settings.app.dev_user->email, settings.app.dev_user->groups);

    transaction.exec0(
        "delete from memberships m where via = 'config' and not exists (select from stated_memberships s"
        " where s.account_id = m.account_id and s.group_id = m.group_id)");
    transaction.exec0(
        "insert into memberships (account_id, group_id, via)"
        " select distinct account_id, group_id, 'config' from stated_memberships"
        // One that a rule gave is the file's now; one that an administrator gave outlives the file's word.
        " on conflict (account_id, group_id) do update set via = 'config' where memberships.via = 'rule'");
    apply_group_rules(transaction);
    // Users that left the file inherit again.
    transaction.exec_params0(std::string(kInheritAgain) +
                                 " from users u where u.account_id = r.account_id"
                                 " and (limits_from = 'config' or access_from = 'config')"
                                 " and u.email not in (select jsonb_array_elements_text($1::jsonb))",
                             sql_texts(stated));
}

// ---- projects

void apply_projects(pqxx::transaction_base& transaction, const Settings& settings) {
    for (const auto& row : transaction.exec("select name, account_id from projects")) {
        apply_project_settings(transaction, settings, row[0].as<std::string>(), row[1].as<AccountId>());
    }
}

}  // namespace

void keep_settings_still(pqxx::transaction_base& transaction) {
    transaction.exec_params("select pg_advisory_xact_lock_shared(hashtextextended($1, 0))", kApplyLock);
}

void apply_settings(pqxx::transaction_base& transaction, const Settings& settings) {
    transaction.exec_params("select pg_advisory_xact_lock(hashtextextended($1, 0))", kApplyLock);
    adopt_secret(transaction, settings.app);
    apply_models(transaction, settings);
    apply_groups(transaction, settings);
    apply_users(transaction, settings);
    apply_projects(transaction, settings);
    apply_site_state(transaction, settings);
}

void forget_settings(pqxx::transaction_base& transaction, AccountId account) {
    transaction.exec_params0("delete from memberships where account_id = $1 and via = 'config'", account);
    transaction.exec_params0(std::string(kInheritAgain) + " where r.account_id = $1", account);
}

void apply_project_settings(pqxx::transaction_base& transaction, const Settings& settings, const std::string& name,
                            AccountId account) {
    forget_settings(transaction, account);
    const EntitySettings* project = settings.project(name);
    if (project == nullptr) return;
    transaction.exec_params0(
        "insert into memberships (account_id, group_id, via)"
        " select $1, id, 'config' from groups"
        " where active and name in (select jsonb_array_elements_text($2::jsonb)) on conflict do nothing",
        account, sql_texts(project->groups));
    apply_own_rules(transaction, *project, account);
}

void apply_user_settings(pqxx::transaction_base& transaction, const Settings& settings, const std::string& email,
                         AccountId account) {
    transaction.exec_params0(
        "insert into memberships (account_id, group_id, via)"
        " select $1, id, 'config' from groups"
        " where active and name in (select jsonb_array_elements_text($2::jsonb))"
        " on conflict do nothing",
        account, sql_texts(groups_of_user(settings, email)));
    if (const EntitySettings* user = settings.user(email)) apply_own_rules(transaction, *user, account);
}

}  // namespace lumen::admind

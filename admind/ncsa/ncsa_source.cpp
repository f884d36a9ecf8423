#include "admind/ncsa/ncsa_source.h"

#include <map>
#include <stdexcept>

#include "admind/settings/settings.h"
#include "admind/stores/pg_values.h"
#include "admind/text/json.h"

namespace lumen::admind {

namespace {

/// Its times are UTC without saying so; its coins have six places.
std::string utc(const std::string& column) {
    return "(" + column + " at time zone 'UTC')::text";
}
std::string in_nano(const std::string& column) {
    return "(" + column + " * 1000000000)::bigint";
}

void check_version(pqxx::transaction_base& source) {
    constexpr const char* kNeeded[][2] = {{"entities", "model_access_default"},
                                          {"entity_managers", "is_owner"},
                                          {"model_configs", "needs_ack"},
                                          {"entity_stats", "cost"},
                                          {"api_keys", "key_hash"},
                                          {"request_logs", "audio_seconds"},
                                          {"entity_limits", "config_managed"},
                                          {"group_limits", "max_coins"}};
    for (const auto& [table, column] : kNeeded) {
        const auto found = source.exec_params(
            "select 1 from information_schema.columns where table_schema = any (current_schemas(false))"
            " and table_name = $1 and column_name = $2",
            table, column);
        if (found.empty()) {
            throw std::runtime_error(std::string("this is no database of NCSA Lumen's current version: ") + table +
                                     "." + column + " is missing");
        }
    }
}

std::int64_t max_of(const pqxx::field& nano) {
    constexpr std::int64_t kMinusTwoCoins = -2'000'000'000;
    const auto value = nano.as<std::int64_t>();
    return value == kMinusTwoCoins ? -2 : value;
}

NanoCoins nano(const pqxx::field& field) {
    return NanoCoins(field.as<std::int64_t>(0));
}

std::optional<bool> allows(const pqxx::field& word) {
    if (word.is_null()) return std::nullopt;
    // Its older words live on in rows that nobody saved since.
    const auto text = word.as<std::string>();
    return text == "allowed" || text == "whitelist" || text == "graylist";
}

void add_rule(NcsaAccess& access, const std::string& model, const pqxx::field& word) {
    (allows(word).value_or(false) ? access.allowed : access.blocked).push_back(model);
}

std::vector<NcsaGroup> read_groups(pqxx::transaction_base& source) {
    std::vector<NcsaGroup> groups;
    std::map<std::int64_t, std::size_t> places;
    for (const auto& row :
         source.exec("select g.id, g.name, coalesce(g.description, ''), g.active, g.model_access_default, " +
                     in_nano("l.max_coins") + ", " + in_nano("l.refresh_coins") + ", " + in_nano("l.starting_coins") +
                     ", g.config_managed from groups g left join group_limits l on l.group_id = g.id order by g.id")) {
        NcsaGroup group;
        group.id = row[0].as<std::int64_t>();
        group.name = row[1].as<std::string>();
        group.description = row[2].as<std::string>();
        group.active = row[3].as<bool>();
        group.access.allows_by_default = allows(row[4]);
        if (!row[5].is_null()) group.limits = NcsaLimits{max_of(row[5]), nano(row[6]), nano(row[7]), row[8].as<bool>()};
        places[group.id] = groups.size();
        groups.push_back(std::move(group));
    }
    for (const auto& row : source.exec("select a.group_id, m.model_name, a.access_type from group_model_access a"
                                       " join model_configs m on m.id = a.model_config_id order by a.id")) {
        add_rule(groups[places.at(row[0].as<std::int64_t>())].access, row[1].as<std::string>(), row[2]);
    }
    return groups;
}

std::vector<NcsaEntity> read_entities(pqxx::transaction_base& source) {
    std::vector<NcsaEntity> entities;
    std::map<std::int64_t, std::size_t> places;
    for (const auto& row :
         source.exec("select e.id, e.entity_type <> 'user' as project, coalesce(e.email, '') email, e.name, e.active,"
                     " " +
                     utc("coalesce(e.created_at, now() at time zone 'UTC')") + " created_at, e.model_access_default, " +
                     in_nano("l.max_coins") + " max, " + in_nano("l.refresh_coins") + " refresh, " +
                     in_nano("l.starting_coins") + " starting, coalesce(l.config_managed, false) from_config, " +
                     in_nano("b.coins_left") +
                     " balance, (select count(*) from conversations c where c.entity_id = e.id) conversations"
                     " from entities e left join entity_limits l on l.entity_id = e.id"
                     " left join entity_balances b on b.entity_id = e.id order by e.id")) {
        NcsaEntity entity;
        entity.id = row["id"].as<std::int64_t>();
        entity.project = row["project"].as<bool>();
        entity.email = normalised_email(row["email"].as<std::string>());
        entity.name = row["name"].as<std::string>();
        entity.active = row["active"].as<bool>();
        entity.created_at = row["created_at"].as<std::string>();
        entity.access.allows_by_default = allows(row["model_access_default"]);
        if (!row["max"].is_null()) {
            entity.limits = NcsaLimits{max_of(row["max"]), nano(row["refresh"]), nano(row["starting"]),
                                       row["from_config"].as<bool>()};
        }
        if (!row["balance"].is_null()) entity.balance = nano(row["balance"]);
        entity.conversations = row["conversations"].as<std::int64_t>();
        places[entity.id] = entities.size();
        entities.push_back(std::move(entity));
    }
    for (const auto& row : source.exec("select a.entity_id, m.model_name, a.access_type from entity_model_access a"
                                       " join model_configs m on m.id = a.model_config_id order by a.id")) {
        add_rule(entities[places.at(row[0].as<std::int64_t>())].access, row[1].as<std::string>(), row[2]);
    }
    for (const auto& row :
         source.exec("select project_entity_id, user_entity_id, is_owner from entity_managers order by id")) {
        NcsaEntity& project = entities[places.at(row[0].as<std::int64_t>())];
        const auto manager = row[1].as<std::int64_t>();
        if (row[2].as<bool>()) project.owner = manager;
        project.managers.push_back(manager);
    }
    return entities;
}

std::vector<NcsaKey> read_keys(pqxx::transaction_base& source) {
    std::vector<NcsaKey> keys;
    for (const auto& row :
         source.exec("select id, entity_id, name, key_hash, coalesce(key_hint, '') hint, active,"
                     " " +
                     utc("coalesce(created_at, now() at time zone 'UTC')") +
                     " created_at,"
                     " coalesce(" +
                     utc("last_used_at") + ", '') last_used_at, requests, input_tokens, output_tokens, " +
                     in_nano("cost") + " cost from api_keys order by id")) {
        NcsaKey key;
        key.id = row["id"].as<std::int64_t>();
        key.entity = row["entity_id"].as<std::int64_t>();
        key.name = row["name"].as<std::string>();
        key.hash_hex = row["key_hash"].as<std::string>();
        key.hint = row["hint"].as<std::string>();
        key.active = row["active"].as<bool>();
        key.created_at = row["created_at"].as<std::string>();
        key.last_used_at = row["last_used_at"].as<std::string>();
        key.requests = row["requests"].as<std::int64_t>();
        key.tokens_in = row["input_tokens"].as<std::int64_t>();
        key.tokens_out = row["output_tokens"].as<std::int64_t>();
        key.cost = nano(row["cost"]);
        keys.push_back(std::move(key));
    }
    return keys;
}

/// Its totals per entity, model and source are the truth; its log says when, as far back as it goes.
constexpr const char* kUsage =
    "with logged as ("
    " select entity_id, model_config_id, source, date_bin('15 minutes', time, 'epoch') slot, count(*) requests,"
    " sum(input_tokens) tokens_in, sum(output_tokens) tokens_out, sum(cost) cost, max(time) last_at"
    " from request_logs where entity_id is not null and model_config_id is not null group by 1, 2, 3, 4),"
    " rest as ("
    " select s.entity_id, s.model_config_id, s.source,"
    " date_bin('15 minutes', coalesce(e.created_at at time zone 'UTC', now()), 'epoch') slot,"
    " s.requests - coalesce(l.requests, 0) requests, s.input_tokens - coalesce(l.tokens_in, 0) tokens_in,"
    " s.output_tokens - coalesce(l.tokens_out, 0) tokens_out, s.cost - coalesce(l.cost, 0) cost,"
    " coalesce(e.created_at at time zone 'UTC', now()) last_at"
    " from model_stats s join entities e on e.id = s.entity_id left join ("
    " select entity_id, model_config_id, source, sum(requests) requests, sum(tokens_in) tokens_in,"
    " sum(tokens_out) tokens_out, sum(cost) cost from logged group by 1, 2, 3) l"
    " using (entity_id, model_config_id, source))"
    " select a.entity_id, m.model_name, a.source = 'chat' as chat, a.slot::text slot,"
    " greatest(a.requests, 0)::bigint requests, greatest(a.tokens_in, 0)::bigint tokens_in,"
    " greatest(a.tokens_out, 0)::bigint tokens_out, (greatest(a.cost, 0) * 1000000000)::bigint cost,"
    " a.last_at::text last_at from (select * from logged union all select * from rest) a"
    " join model_configs m on m.id = a.model_config_id"
    " where a.requests > 0 or a.tokens_in > 0 or a.tokens_out > 0 or a.cost > 0 order by 1, 2, 3, 4";

std::vector<NcsaUsage> read_usage(pqxx::transaction_base& source) {
    std::vector<NcsaUsage> usage;
    for (const auto& row : source.exec(kUsage)) {
        NcsaUsage one;
        one.entity = row["entity_id"].as<std::int64_t>();
        one.model = row["model_name"].as<std::string>();
        one.chat = row["chat"].as<bool>();
        one.slot = row["slot"].as<std::string>();
        one.requests = row["requests"].as<std::int64_t>();
        one.tokens_in = row["tokens_in"].as<std::int64_t>();
        one.tokens_out = row["tokens_out"].as<std::int64_t>();
        one.cost = nano(row["cost"]);
        one.last_at = row["last_at"].as<std::string>();
        usage.push_back(std::move(one));
    }
    return usage;
}

}  // namespace

NcsaData read_ncsa(const std::string& database_url) {
    pqxx::connection connection(database_url);
    // One snapshot of it all, in which nothing can be changed by mistake.
    pqxx::work source(connection);
    source.exec0("set transaction isolation level repeatable read read only");
    source.exec0("set local time zone 'UTC'");
    check_version(source);
    NcsaData data;
    data.groups = read_groups(source);
    data.entities = read_entities(source);
    for (const auto& row : source.exec("select group_id, entity_id, config_managed from group_members order by id")) {
        data.memberships.push_back({row[0].as<std::int64_t>(), row[1].as<std::int64_t>(), row[2].as<bool>()});
    }
    data.keys = read_keys(source);
    for (const auto& row :
         source.exec("select c.entity_id, m.model_name, " + utc("c.consented_at") +
                     " from"
                     " entity_model_consents c join model_configs m on m.id = c.model_config_id order by c.id")) {
        data.consents.push_back({row[0].as<std::int64_t>(), row[1].as<std::string>(), row[2].as<std::string>()});
    }
    data.usage = read_usage(source);
    for (const auto& row : source.exec("select model_name from model_configs order by id")) {
        data.models.push_back(row[0].as<std::string>());
    }
    return data;
}

}  // namespace lumen::admind

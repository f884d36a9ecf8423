// Groups, for administrators: what they give, who is in them, and whom their rules would take in.
#include <functional>

#include "admind/people/account_setup.h"
#include "admind/people/account_view.h"
#include "admind/people/settings_apply.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/request_fields.h"
#include "admind/settings/claim_rules.h"
#include "admind/settings/group_rules.h"
#include "admind/settings/settings_body.h"
#include "admind/settings/settings_sections.h"
#include "admind/stores/pg_values.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestGroupName = 64;
constexpr const char* kEverybody = "default";

const std::vector<SortColumn>& group_columns() {
    static const std::vector<SortColumn> columns{{"name", "name", "text"}, {"members", "members", "bigint"}};
    return columns;
}

constexpr const char* kGroupQuery =
    "select g.id, g.name, g.description, g.active, g.managed_by, g.max_nano, g.refresh_nano, g.starting_nano, g.strict,"
    " g.access_default, to_jsonb(g.allowed)::text allowed, to_jsonb(g.blocked)::text blocked, g.rules::text rules,"
    " (select count(*) from memberships m where m.group_id = g.id) members from groups g";

Json amount_json(const pqxx::field& nano) {
    if (nano.is_null()) return nullptr;
    const auto value = nano.as<std::int64_t>();
    return value == -2 ? Json("-2") : Json(format_coins(NanoCoins(value)));
}

Json group_json(const Settings& settings, const pqxx::row& row) {
    const auto name = row["name"].as<std::string>();
    const auto strict = read_flag(row["strict"]);
    Json access{{"default", row["access_default"].is_null()
                                ? Json(nullptr)
                                : Json(row["access_default"].as<int>() == 1 ? "allowed" : "blocked")},
                {"allowed", parse_json(row["allowed"].c_str()).value_or(Json::array())},
                {"blocked", parse_json(row["blocked"].c_str()).value_or(Json::array())}};
    return {{"name", name},
            {"description", row["description"].as<std::string>()},
            {"active", row["active"].as<bool>()},
            {"managed_by", settings.group(name) != nullptr ? "config" : "admin"},
            {"rules", parse_json(row["rules"].c_str()).value_or(Json::array())},
            {"max", amount_json(row["max_nano"])},
            {"refresh", amount_json(row["refresh_nano"])},
            {"starting", amount_json(row["starting_nano"])},
            {"mode", strict ? Json(*strict ? "strict" : "soft") : Json(nullptr)},
            {"model_access", std::move(access)},
            {"members", row["members"].as<std::int64_t>()}};
}

std::optional<Json> read_group_json(const Call& call, pqxx::transaction_base& transaction, const std::string& name) {
    const auto rows = transaction.exec_params(std::string(kGroupQuery) + " where g.name = $1", name);
    if (rows.empty()) return std::nullopt;
    return group_json(call.settings, rows[0]);
}

Answer with_etag(int status, Json body) {
    Answer answer(status, std::move(body));
    answer.headers.emplace_back("ETag", content_etag(answer.body));
    return answer;
}

/// Why the group may not be changed as the request wants; `before` is what it is now.
std::optional<Problem> check_change(const Call& call, pqxx::transaction_base& transaction,
                                    std::optional<Json>& before) {
    before = read_group_json(call, transaction, call.path.at(0));
    if (!before) return not_found();
    if (!if_match(call.http, content_etag(*before))) return changed_meanwhile();
    if ((*before)["managed_by"] == "config") {
        return Problem{409, "managed_by_config", "lumen.yaml states this group."};
    }
    return std::nullopt;
}

struct ReadGroup {
    GroupSettings group;
    std::optional<Problem> refusal;
};

ReadGroup read_body(const Call& call, std::optional<std::string> name) {
    SettingsBody body(call.body);
    Section section = body.section();
    if (!name) {
        name = section.text("name");
        if (!name) section.required("name");
        if (name && (name->empty() || name->size() > kLongestGroupName)) {
            section.error("name", "a group's name has 1 to 64 characters");
        }
        if (name && *name == kEverybody) section.error("name", "is everybody's group, and lumen.yaml's alone");
    }
    const bool active = section.boolean("active", true);
    ReadGroup result;
    result.group = read_group(section, body.report(), name.value_or(""), call.settings.default_budget);
    result.group.active = active;
    result.refusal = body.refusal();
    return result;
}

std::string target_of(const std::string& group) {
    return "group:" + group;
}

/// In force for all members when this returns.
Answer after_change(const Call& call, int status, const std::string& name) {
    settle_all_accounts(call.services, call.settings);
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    auto group = read_group_json(call, transaction, name);
    return group ? with_etag(status, std::move(*group)) : Answer(not_found());
}

}  // namespace

Answer get_groups(const Call& call) {
    auto page = read_page_request(call.http, group_columns());
    if (auto* problem = std::get_if<Problem>(&page)) return Answer(std::move(*problem));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    std::string query = kGroupQuery;
    if (const auto wanted = call.http.query_value("q"); wanted && !wanted->empty()) {
        query += " where position(lower(" + transaction.quote(*wanted) + ") in lower(g.name)) > 0";
    }
    return {200, read_page(transaction, std::get<PageRequest>(page), query,
                           [&](const pqxx::row& row) { return group_json(call.settings, row); })};
}

Answer get_group(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    auto group = read_group_json(call, transaction, call.path.at(0));
    return group ? with_etag(200, std::move(*group)) : Answer(not_found());
}

Answer post_group(const Call& call) {
    ReadGroup wanted = read_body(call, std::nullopt);
    if (wanted.refusal) return Answer(std::move(*wanted.refusal));
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        keep_settings_still(transaction);
        // The lock lets the second of two equal requests see the first one's group.
        transaction.exec_params("select pg_advisory_xact_lock(hashtextextended($1, 0))", "group " + wanted.group.name);
        if (read_group_json(call, transaction, wanted.group.name)) {
            return Problem{409, "name_taken", "There is a group of this name."};
        }
        apply_group(transaction, wanted.group, ManagedBy::admin);
        apply_group_rules(transaction);
        audit(transaction, call, "group.create", target_of(wanted.group.name), call.body);
        transaction.commit();
    }
    return after_change(call, 201, wanted.group.name);
}

Answer put_group(const Call& call) {
    const std::string& name = call.path.at(0);
    ReadGroup wanted = read_body(call, name);
    if (wanted.refusal) return Answer(std::move(*wanted.refusal));
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        keep_settings_still(transaction);
        std::optional<Json> before;
        if (auto refused = check_change(call, transaction, before)) return Answer(std::move(*refused));
        apply_group(transaction, wanted.group, ManagedBy::admin);
        apply_group_rules(transaction);
        audit(transaction, call, "group.change", target_of(name), call.body, *before);
        transaction.commit();
    }
    return after_change(call, 200, name);
}

Answer delete_group(const Call& call) {
    const std::string& name = call.path.at(0);
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        keep_settings_still(transaction);
        std::optional<Json> before;
        if (auto refused = check_change(call, transaction, before)) return Answer(std::move(*refused));
        transaction.exec_params0("delete from memberships where group_id = (select id from groups where name = $1)",
                                 name);
        transaction.exec_params0("delete from groups where name = $1", name);
        audit(transaction, call, "group.delete", target_of(name), nullptr, *before);
        transaction.commit();
    }
    settle_all_accounts(call.services, call.settings);
    return {204, nullptr};
}

// ---- members

Answer get_members(const Call& call) {
    static const std::vector<SortColumn> columns{{"name", "sort_name", "text"}, {"account", "id", "bigint"}};
    auto page = read_page_request(call.http, columns);
    if (auto* problem = std::get_if<Problem>(&page)) return Answer(std::move(*problem));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto group = transaction.exec_params("select id from groups where name = $1", call.path.at(0));
    if (group.empty()) return not_found();
    const std::string query =
        "select m.account_id id, m.via, coalesce(u.name, '') as name, lower(coalesce(u.name, '')) sort_name, u.email"
        " from memberships m left join users u on u.account_id = m.account_id where m.group_id = " +
        group[0][0].as<std::string>();
    return {200, read_page(transaction, std::get<PageRequest>(page), query, [](const pqxx::row& row) -> Json {
                return {{"account", id_json(row["id"].as<AccountId>())},
                        {"via", row["via"].as<std::string>()},
                        {"name", row["name"].as<std::string>()},
                        {"email", row["email"].is_null() ? Json(nullptr) : Json(row["email"].as<std::string>())}};
            })};
}

namespace {

struct Membership {
    std::int64_t group = 0;
    AccountId account = 0;
    std::string via;  ///< empty: is no member
};

std::variant<Membership, Problem> find_membership(const Call& call, pqxx::transaction_base& transaction) {
    const auto account = call.path_id(1);
    const auto group = transaction.exec_params("select id from groups where name = $1", call.path.at(0));
    if (!account || group.empty()) return not_found();
    const auto wallet = read_wallet(transaction, *account);
    if (!wallet) return not_found();
    if (!if_match(call.http, account_etag(*wallet))) return changed_meanwhile();
    Membership found{group[0][0].as<std::int64_t>(), *account, ""};
    const auto rows = transaction.exec_params("select via from memberships where account_id = $1 and group_id = $2",
                                              *account, found.group);
    if (!rows.empty()) found.via = rows[0][0].as<std::string>();
    return found;
}

Answer settle_member(const Call& call, AccountId account) {
    if (settle_account_rules(call.services, call.settings, account) == InForce::not_yet) return not_yet_in_force();
    return {204, nullptr};
}

/// Writes down what `change` does to a membership that lumen.yaml does not state; a problem of its own leaves all as it
/// was.
Answer change_membership(
    const Call& call, const std::function<std::optional<Problem>(pqxx::transaction_base&, const Membership&)>& change) {
    AccountId account = 0;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        keep_settings_still(transaction);
        auto found = find_membership(call, transaction);
        if (auto* problem = std::get_if<Problem>(&found)) return Answer(std::move(*problem));
        const auto& membership = std::get<Membership>(found);
        if (membership.via == "config") return Problem{409, "managed_by_config", "lumen.yaml states this membership."};
        if (auto refused = change(transaction, membership)) return Answer(std::move(*refused));
        transaction.commit();
        account = membership.account;
    }
    return settle_member(call, account);
}

}  // namespace

Answer put_member(const Call& call) {
    return change_membership(call, [&](pqxx::transaction_base& transaction, const Membership& found) {
        // By hand counts for more than by rule: it stays when the claims change.
        transaction.exec_params0(
            "insert into memberships (account_id, group_id, via) values ($1, $2, 'manual')"
            " on conflict (account_id, group_id) do update set via = 'manual'",
            found.account, found.group);
        audit(transaction, call, "group.member.add", target_of(call.path.at(0)),
              {{"account", id_json(found.account)}, {"via", "manual"}},
              found.via.empty() ? Json(nullptr) : Json{{"account", id_json(found.account)}, {"via", found.via}});
        return std::nullopt;
    });
}

Answer delete_member(const Call& call) {
    return change_membership(
        call, [&](pqxx::transaction_base& transaction, const Membership& found) -> std::optional<Problem> {
            if (found.via == "rule")
                return Problem{409, "member_by_rule", "A rule of the group takes this account in."};
            transaction.exec_params0("delete from memberships where account_id = $1 and group_id = $2", found.account,
                                     found.group);
            apply_group_rules(transaction, found.account);
            audit(transaction, call, "group.member.remove", target_of(call.path.at(0)), nullptr,
                  {{"account", id_json(found.account)}, {"via", found.via}});
            return std::nullopt;
        });
}

Answer post_groups_match(const Call& call) {
    RequestFields fields(call.body);
    const Json* claims = fields.object("claims");
    if (claims == nullptr || !claims->is_object()) fields.error("claims", "required", "must be an object");
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    Json groups = Json::array();
    for (const auto& row : transaction.exec("select name, rules::text from groups where active order by name")) {
        const std::vector<ClaimRule> rules = read_claim_rules(parse_json(row[1].c_str()).value_or(Json::array()));
        if (rules.empty()) continue;
        Json tried = Json::array();
        for (const ClaimRule& rule : rules) {
            tried.push_back({{"field", rule.field},
                             {"contains", rule.contains ? Json(*rule.contains) : Json(nullptr)},
                             {"equals", rule.equals ? Json(*rule.equals) : Json(nullptr)},
                             {"matches", rule_matches(rule, *claims)}});
        }
        groups.push_back({{"name", row[0].as<std::string>()},
                          {"matches", rules_match(rules, *claims)},
                          {"rules", std::move(tried)}});
    }
    return {200, {{"groups", std::move(groups)}}};
}

}  // namespace lumen::admind

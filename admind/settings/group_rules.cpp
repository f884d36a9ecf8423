#include "admind/settings/group_rules.h"

#include <string>
#include <utility>
#include <vector>

#include "admind/settings/claim_rules.h"

namespace lumen::admind {

namespace {

constexpr int kPeopleAtOnce = 500;
constexpr std::size_t kMostClaimBytes = std::size_t{64} * 1024;

struct GroupWithRules {
    std::int64_t id = 0;
    std::vector<ClaimRule> rules;
};

std::vector<GroupWithRules> groups_with_rules(pqxx::transaction_base& transaction) {
    std::vector<GroupWithRules> groups;
    for (const auto& row :
         transaction.exec("select id, rules::text from groups where active and jsonb_array_length(rules) > 0")) {
        groups.push_back(
            {row[0].as<std::int64_t>(), read_claim_rules(parse_json(row[1].c_str()).value_or(Json::array()))});
    }
    return groups;
}

/// [{"account":…,"group":…}] of one person, appended.
void add_matches(const std::vector<GroupWithRules>& groups, AccountId account, const Json& claims, Json& matches) {
    for (const GroupWithRules& group : groups) {
        if (rules_match(group.rules, claims)) matches.push_back({{"account", account}, {"group", group.id}});
    }
}

constexpr const char* kMatches = "select * from jsonb_to_recordset($1::jsonb) as m(account bigint, \"group\" bigint)";

void add_memberships(pqxx::transaction_base& transaction, const Json& matches) {
    transaction.exec_params0(std::string("insert into memberships (account_id, group_id, via)"
                                         " select account, \"group\", 'rule' from (") +
                                 kMatches + ") m on conflict do nothing",
                             to_text(matches));
}

void follow_claims(pqxx::transaction_base& transaction, AccountId account, const Json& claims) {
    Json matches = Json::array();
    add_matches(groups_with_rules(transaction), account, claims, matches);
    transaction.exec_params0(
        std::string("delete from memberships where account_id = $2 and via = 'rule' and group_id not in"
                    " (select \"group\" from (") +
            kMatches + ") m)",
        to_text(matches), account);
    add_memberships(transaction, matches);
}

}  // namespace

void store_claims(pqxx::transaction_base& transaction, AccountId account, const Json& claims) {
    std::string text = to_text(claims);
    // jsonb holds no zero character, and nobody's claims need be larger than a provider's answer.
    if (text.size() > kMostClaimBytes || text.find("\\u0000") != std::string::npos) text = "{}";
    transaction.exec_params0(
        "insert into sign_in_claims (account_id, claims) values ($1, $2::jsonb)"
        " on conflict (account_id) do update set claims = excluded.claims, at = now()",
        account, text);
    follow_claims(transaction, account, parse_json(text).value_or(Json::object()));
}

void apply_group_rules(pqxx::transaction_base& transaction, AccountId account) {
    const auto rows = transaction.exec_params("select claims::text from sign_in_claims where account_id = $1", account);
    if (!rows.empty()) follow_claims(transaction, account, parse_json(rows[0][0].c_str()).value_or(Json::object()));
}

void apply_group_rules(pqxx::transaction_base& transaction) {
    const std::vector<GroupWithRules> groups = groups_with_rules(transaction);
    transaction.exec0("create temp table ruled_memberships (account_id bigint, group_id bigint) on commit drop");
    for (AccountId after = 0; !groups.empty();) {
        const auto rows = transaction.exec_params(
            "select account_id, claims::text from sign_in_claims where account_id > $1 order by account_id limit $2",
            after, kPeopleAtOnce);
        if (rows.empty()) break;
        Json matches = Json::array();
        for (const auto& row : rows) {
            after = row[0].as<AccountId>();
            add_matches(groups, after, parse_json(row[1].c_str()).value_or(Json::object()), matches);
        }
        transaction.exec_params0(std::string("insert into ruled_memberships ") + kMatches, to_text(matches));
    }
    transaction.exec0(
        "delete from memberships m where via = 'rule' and not exists (select from ruled_memberships r"
        " where r.account_id = m.account_id and r.group_id = m.group_id)"
        // Who has not signed in here yet keeps what an import brought.
        " and exists (select from sign_in_claims c where c.account_id = m.account_id)");
    transaction.exec0(
        "insert into memberships (account_id, group_id, via)"
        " select account_id, group_id, 'rule' from ruled_memberships on conflict do nothing");
    transaction.exec0("drop table ruled_memberships");
}

}  // namespace lumen::admind

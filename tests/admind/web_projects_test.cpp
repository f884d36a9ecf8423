// Projects: who may do what (spec/ui.md J7, as a table), their people, keys, consents and limits (J1–J9).
#include <gtest/gtest.h>

#include <set>

#include "lumen_core/account_bucket.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

constexpr const char* kSettings = R"(
rate_limiting: {limit: 100000 per minute, login: 100000 per minute}
defaults: {models: {access: allowed}}
groups:
  default: {max: 99}
  lab: {max: 20, refresh: 0.05}
projects:
  default: {max: 7}
  named: {max: 30, groups: [lab], model_access: {blocked: [plain]}}
  grouped: {groups: [lab]}
  as-default: {}
  another: {max: 12}
models:
  - {name: plain, input_cost_per_million: 1, endpoints: [{id: one, url: "http://127.0.0.1:9/v1"}]}
  - {name: asks, needs_ack: true, ack_message: Read this first., input_cost_per_million: 1}
)";

const PrivateAdmind& projects_admind() {
    static PrivateAdmind instance(kSettings);
    return instance;
}

std::string fresh_name() {
    static int number = 0;
    return "project " + std::to_string(++number);
}

std::string email_of(const PrivateAdmind::Browser& person) {
    return projects_admind().row("select email from users where id = " + std::to_string(person.user))[0];
}

/// A project with an owner and one more manager.
struct Team {
    PrivateAdmind::Browser owner = projects_admind().new_person();
    PrivateAdmind::Browser manager = projects_admind().new_person();
    PrivateAdmind::Browser stranger = projects_admind().new_person();
    std::string id;
    std::string account;
    std::string path;

    Team() {
        const HttpReply made = projects_admind().as_operator(
            "POST", "/api/v1/projects", {{"name", fresh_name()}, {"owner_email", email_of(owner)}});
        EXPECT_EQ(made.status, 201) << made.text;
        id = made.body["id"].get<std::string>();
        account = made.body["account"].get<std::string>();
        path = "/api/v1/projects/" + id;
        EXPECT_EQ(owner.call("POST", path + "/managers", {{"email", email_of(manager)}}).status, 201);
    }
};

/// A person's call with the If-Match that changes need.
HttpReply change(const PrivateAdmind::Browser& person, const std::string& method, const std::string& path,
                 const Json& body = nullptr) {
    Headers headers{{"Cookie", "lumen_session=" + person.cookie}, {"Sec-Fetch-Site", "same-origin"}, {"If-Match", "*"}};
    if (body.is_null()) return projects_admind().call(method, path, headers);
    headers.emplace_back("Content-Type", "application/json");
    return projects_admind().call(method, path, headers, body.dump());
}

PrivateAdmind::Browser administrator() {
    const HttpReply in = projects_admind().call("POST", "/api/v1/devlogin", {{"Sec-Fetch-Site", "same-origin"}});
    const std::string header = in.header("set-cookie");
    const std::size_t begin = header.find('=') + 1;
    return {&projects_admind(), header.substr(begin, header.find(';') - begin), 0, ""};
}

Headers token(const char* scope) {
    const HttpReply made =
        projects_admind().as_operator("POST", "/api/v1/admin/operator-tokens", {{"name", "t"}, {"scope", scope}});
    return {{"Authorization", "Bearer " + made.body["token"].get<std::string>()},
            {"If-Match", "*"},
            {"Content-Type", "application/json"}};
}

// ---- J7, route by route

struct RightsRow {
    const char* name;
    const char* method;
    const char* path;  ///< below the project
    const char* body;  ///< %MANAGER%, %STRANGER%: address; %STRANGER_ID%: id
    int stranger, manager, owner, admin, operator_read, operator_write;
};
void PrintTo(const RightsRow& row, std::ostream* out) {
    *out << row.name;
}

class ProjectRights : public ::testing::TestWithParam<RightsRow> {};

std::string filled_in(std::string text, const Team& team) {
    const std::pair<const char*, std::string> words[] = {{"%STRANGER%", email_of(team.stranger)},
                                                         {"%STRANGER_ID%", std::to_string(team.stranger.user)},
                                                         {"%MANAGER_ID%", std::to_string(team.manager.user)}};
    for (const auto& [word, value] : words) {
        if (const std::size_t at = text.find(word); at != std::string::npos) {
            text.replace(at, std::string(word).size(), value);
        }
    }
    return text;
}

TEST_P(ProjectRights, are_as_the_matrix_says) {
    const RightsRow& row = GetParam();
    const auto as_person = [&](const PrivateAdmind::Browser& person, const Team& team) {
        const std::string body = filled_in(row.body, team);
        return change(person, row.method, team.path + filled_in(row.path, team),
                      body.empty() ? Json() : *parse_json(body))
            .status;
    };
    const auto as_operator = [&](const char* scope) {
        const Team team;
        const std::string body = filled_in(row.body, team);
        return projects_admind()
            .call(row.method, team.path + filled_in(row.path, team), token(scope),
                  body.empty() ? std::nullopt : std::optional<std::string>(body))
            .status;
    };
    const Team team;
    EXPECT_EQ(as_person(team.stranger, team), row.stranger) << "a stranger";
    EXPECT_EQ(as_person(team.manager, team), row.manager) << "a manager";
    EXPECT_EQ(as_person(team.owner, team), row.owner) << "the owner";
    EXPECT_EQ(as_person(administrator(), Team()), row.admin) << "an administrator";
    EXPECT_EQ(as_operator("read"), row.operator_read) << "an operator who may read";
    EXPECT_EQ(as_operator("write"), row.operator_write) << "an operator who may write";
}

INSTANTIATE_TEST_SUITE_P(
    spec_ui_J7, ProjectRights,
    ::testing::Values(
        RightsRow{"look", "GET", "", "", 404, 200, 200, 200, 200, 200},
        RightsRow{"list_keys", "GET", "/keys", "", 404, 200, 200, 200, 200, 200},
        RightsRow{"draft_a_key", "POST", "/keys/draft", "{}", 404, 201, 201, 201, 403, 201},
        RightsRow{"discard_a_draft", "DELETE", "/keys/draft/x", "", 404, 204, 204, 204, 403, 204},
        RightsRow{"save_a_key", "POST", "/keys", R"({"draft_id":"x","name":"k"})", 404, 410, 410, 410, 403, 410},
        RightsRow{"change_a_key", "PATCH", "/keys/1", "{}", 404, 404, 404, 404, 403, 404},
        RightsRow{"delete_a_key", "DELETE", "/keys/1", "", 404, 404, 404, 404, 403, 404},
        RightsRow{"list_models", "GET", "/models", "", 404, 200, 200, 200, 200, 200},
        RightsRow{"consent", "POST", "/consents", R"({"model":"asks","notice_version":1})", 404, 201, 200, 201, 403,
                  403},
        RightsRow{"add_a_manager", "POST", "/managers", R"({"email":"%STRANGER%"})", 404, 403, 201, 201, 403, 201},
        RightsRow{"remove_a_manager", "DELETE", "/managers/%MANAGER_ID%", "", 404, 403, 204, 204, 403, 204},
        RightsRow{"search_people", "GET", "/user-search?q=person", "", 404, 403, 200, 200, 200, 200},
        RightsRow{"transfer", "PUT", "/owner", R"({"user_id":"%STRANGER_ID%"})", 404, 403, 200, 200, 403, 200},
        RightsRow{"deactivate", "PATCH", "", R"({"active":false})", 404, 403, 200, 200, 403, 200},
        RightsRow{"rename", "PATCH", "", R"({"name":"as-default"})", 404, 403, 403, 200, 403, 409}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(Projects, only_administrators_and_operators_make_them) {
    const auto person = projects_admind().new_person();
    EXPECT_EQ(person.call("POST", "/api/v1/projects", {{"name", "mine"}}).code(), "forbidden");
    EXPECT_EQ(projects_admind().call("POST", "/api/v1/projects", token("read"), R"({"name":"x"})").code(),
              "insufficient_scope");
    EXPECT_EQ(administrator().call("POST", "/api/v1/projects", {{"name", fresh_name()}}).status, 201);
}

TEST(Projects, are_refused_with_their_reasons) {
    const std::string name = fresh_name();
    EXPECT_EQ(projects_admind().as_operator("POST", "/api/v1/projects", {{"name", name}}).status, 201);
    EXPECT_EQ(projects_admind().as_operator("POST", "/api/v1/projects", {{"name", name}}).code(), "name_taken");
    const HttpReply nobody = projects_admind().as_operator(
        "POST", "/api/v1/projects", {{"name", fresh_name()}, {"owner_email", "nobody@example.edu"}});
    EXPECT_EQ(nobody.status, 422);
    EXPECT_EQ(nobody.code(), "user_not_found");
    for (const Json& body : {Json{{"name", ""}}, Json{{"name", std::string(65, 'x')}}, Json{{"name", "default"}},
                             Json{{"owner_email", "a@b.edu"}}, Json{{"name", "x"}, {"colour", 1}}}) {
        EXPECT_EQ(projects_admind().as_operator("POST", "/api/v1/projects", body).status, 422) << body;
    }
}

TEST(Projects, are_listed_for_their_managers_and_all_of_them_for_administrators) {
    const Team team;
    const Team other;
    const auto names = [](const PrivateAdmind::Browser& person, const std::string& query = "") {
        const HttpReply list = person.call("GET", "/api/v1/projects?limit=200" + query);
        std::set<std::string> ids;
        for (const Json& project : list.body["data"]) ids.insert(project["id"].get<std::string>());
        return ids;
    };
    EXPECT_EQ(names(team.manager), (std::set<std::string>{team.id}));
    EXPECT_TRUE(names(team.stranger).empty());
    EXPECT_EQ(names(administrator()).count(team.id) + names(administrator()).count(other.id), 2u);
    EXPECT_EQ(change(team.owner, "PATCH", team.path, {{"active", false}}).status, 200);
    EXPECT_TRUE(names(team.manager).empty());
    EXPECT_EQ(names(team.manager, "&disabled=true"), (std::set<std::string>{team.id}));
}

TEST(Projects, show_managers_with_the_owner_first_and_what_the_caller_may_do) {
    const Team team;
    const HttpReply seen = team.manager.call("GET", team.path);
    ASSERT_EQ(seen.body["managers"].size(), 2u);
    EXPECT_EQ(seen.body["managers"][0]["email"], email_of(team.owner));
    EXPECT_EQ(seen.body["managers"][0]["owner"], true);
    EXPECT_EQ(seen.body["managers"][1]["owner"], false);
    EXPECT_EQ(seen.body["rights"]["keys"], true);
    EXPECT_EQ(seen.body["rights"]["managers"], false);
    EXPECT_EQ(team.owner.call("GET", team.path).body["rights"]["managers"], true);
    EXPECT_EQ(team.owner.call("GET", team.path).body["rights"]["name"], false);
}

TEST(Projects, managers_come_and_go_and_the_owner_must_hand_over_first) {
    const Team team;
    const auto add = [&](const std::string& email) {
        return team.owner.call("POST", team.path + "/managers", {{"email", email}});
    };
    EXPECT_EQ(add(email_of(team.manager)).code(), "already_manager");
    EXPECT_EQ(add("nobody@example.edu").code(), "user_not_found");
    const std::string owner = team.path + "/managers/" + std::to_string(team.owner.user);
    EXPECT_EQ(change(team.owner, "DELETE", owner).code(), "owner_must_transfer");
    const auto hand_over = [&](const PrivateAdmind::Browser& to) {
        return change(team.owner, "PUT", team.path + "/owner", {{"user_id", std::to_string(to.user)}});
    };
    EXPECT_EQ(hand_over(team.owner).code(), "already_owner");
    EXPECT_EQ(hand_over(team.manager).status, 200);
    EXPECT_EQ(hand_over(team.stranger).code(), "forbidden") << "the former owner is a manager now";
    EXPECT_EQ(change(team.manager, "DELETE", owner).status, 204);
    EXPECT_EQ(team.owner.call("GET", team.path).status, 404) << "and then nobody";
    EXPECT_EQ(change(team.manager, "DELETE", owner).status, 404);
}

TEST(Projects, people_are_found_by_name_or_address_but_for_those_who_manage_already) {
    const Team team;
    const auto found = [&](const std::string& text) {
        return team.owner.call("GET", team.path + "/user-search?q=" + text).body["data"];
    };
    EXPECT_EQ(found("person-").size(), 10u);
    EXPECT_EQ(found(email_of(team.stranger)).size(), 1u);
    EXPECT_TRUE(found(email_of(team.manager)).empty());
    EXPECT_TRUE(found("p").empty()) << "from two characters on";
    EXPECT_TRUE(found("%25%25").empty());
}

TEST(Projects, changes_need_the_project_as_it_is_now) {
    const Team team;
    const std::string etag = team.owner.call("GET", team.path).header("etag");
    const auto deactivate = [&](const std::string& tag) {
        Headers headers = {{"Cookie", "lumen_session=" + team.owner.cookie},
                           {"Sec-Fetch-Site", "same-origin"},
                           {"Content-Type", "application/json"}};
        if (!tag.empty()) headers.emplace_back("If-Match", tag);
        return projects_admind().call("PATCH", team.path, headers, R"({"active":false})");
    };
    EXPECT_EQ(deactivate("").code(), "precondition_required");
    EXPECT_EQ(deactivate("\"old\"").code(), "precondition_failed");
    const HttpReply done = deactivate(etag);
    EXPECT_EQ(done.status, 200);
    EXPECT_NE(done.header("etag"), etag);
    EXPECT_EQ(deactivate(etag).code(), "precondition_failed");
}

std::string redis_field(const std::string& key, const char* field) {
    RedisLink redis(projects_admind().redis_server.url(), std::chrono::seconds(5));
    return std::string(reply_text(redis.command({"HGET", key, field}).get()));
}

TEST(Projects, J9_deactivating_stops_the_keys_at_once_and_keeps_the_history) {
    const Team team;
    const std::string hash = account_key(std::stoll(team.account));
    EXPECT_EQ(redis_field(hash, "st"), "1");
    EXPECT_EQ(change(team.owner, "PATCH", team.path, {{"active", false}}).body["active"], false);
    EXPECT_EQ(redis_field(hash, "st"), "2");
    EXPECT_EQ(team.owner.call("GET", team.path + "/keys").status, 200);
    EXPECT_EQ(change(team.owner, "PATCH", team.path, {{"active", true}}).status, 200);
    EXPECT_EQ(redis_field(hash, "st"), "1");
}

TEST(Projects, J8_keys_are_drafted_per_person_saved_changed_and_deleted) {
    const Team team;
    const HttpReply by_owner = team.owner.call("POST", team.path + "/keys/draft");
    const HttpReply by_manager = team.manager.call("POST", team.path + "/keys/draft");
    const auto save = [&](const PrivateAdmind::Browser& person, const HttpReply& draft) {
        return person.call("POST", team.path + "/keys", {{"draft_id", draft.body["draft_id"]}, {"name", "shared"}});
    };
    EXPECT_EQ(save(team.manager, by_owner).code(), "draft_expired") << "a draft is its maker's";
    const HttpReply saved = save(team.manager, by_manager);
    ASSERT_EQ(saved.status, 201) << saved.text;
    EXPECT_EQ(save(team.owner, by_owner).status, 201) << "the other's dialog was still open";
    const std::string key = team.path + "/keys/" + saved.body["id"].get<std::string>();
    EXPECT_EQ(change(team.owner, "PATCH", key, {{"paused", true}}).body["paused"], true);
    EXPECT_EQ(team.manager.call("GET", "/api/v1/me/keys").body["data"].size(), 0u) << "it is the project's";
    EXPECT_EQ(change(team.owner, "DELETE", "/api/v1/me/keys/" + saved.body["id"].get<std::string>()).status, 404);
    EXPECT_EQ(change(team.manager, "DELETE", key).status, 204);
    EXPECT_EQ(change(team.manager, "DELETE", key).status, 204);
    EXPECT_EQ(redis_field(api_key_key(std::stoll(team.account), std::stoll(saved.body["id"].get<std::string>())), "st"),
              "2");
    EXPECT_EQ(projects_admind().row("select count(*) from audit_log where target = 'account:" + team.account +
                                    "' and action in ('key.create', 'key.change')")[0],
              "3");
}

TEST(Projects, J8_a_consent_is_the_projects_own_and_keeps_who_gave_it) {
    const Team team;
    const auto badge = [](const PrivateAdmind::Browser& person, const std::string& path) {
        const HttpReply models = person.call("GET", path);
        for (const Json& model : models.body["data"]) {
            if (model["model"] == "asks") return model;
        }
        return Json();
    };
    const Json notice{{"model", "asks"}, {"notice_version", 1}};
    EXPECT_EQ(team.manager.call("POST", "/api/v1/me/consents", notice).status, 201);
    EXPECT_EQ(badge(team.manager, team.path + "/models")["access"], "need_consent") << "row 22";
    EXPECT_EQ(team.manager.call("POST", team.path + "/consents", notice).status, 201);
    EXPECT_EQ(team.owner.call("POST", team.path + "/consents", notice).status, 200) << "asked one time only";
    const Json shown = badge(team.owner, team.path + "/models");
    EXPECT_EQ(shown["access"], "consented");
    EXPECT_EQ(shown["consented_by"], "A Person");
    EXPECT_EQ(projects_admind().row("select by_user from consents where account_id = " + team.account)[0],
              std::to_string(team.manager.user));
    EXPECT_EQ(badge(team.owner, "/api/v1/me/models")["access"], "need_consent");
}

// ---- limits and access from lumen.yaml (spec/rest.md §6, §5)

struct ProjectLimitRow {
    const char* name;  ///< of the project
    const char* limit;
    const char* source;
    std::vector<std::string> groups;
    const char* plain;  ///< badge of the model `plain`
};
void PrintTo(const ProjectLimitRow& row, std::ostream* out) {
    *out << row.name;
}

class ProjectLimits : public ::testing::TestWithParam<ProjectLimitRow> {};

TEST_P(ProjectLimits, are_those_that_lumen_yaml_has_for_it_from_the_first_moment) {
    const ProjectLimitRow& row = GetParam();
    const HttpReply made = projects_admind().as_operator("POST", "/api/v1/projects", {{"name", row.name}});
    ASSERT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(made.body["budget"]["limit"]["coins"], row.limit);
    EXPECT_EQ(made.body["budget"]["source"], row.source);
    const HttpReply account =
        projects_admind().as_operator("GET", "/api/v1/admin/accounts/" + made.body["account"].get<std::string>());
    EXPECT_EQ(account.body["type"], "project");
    EXPECT_EQ(account.body["name"], row.name);
    std::vector<std::string> groups;
    for (const Json& group : account.body["groups"]) groups.push_back(group["name"].get<std::string>());
    EXPECT_EQ(groups, row.groups) << "the users' groups are not a project's";
    const HttpReply models = projects_admind().as_operator(
        "GET", "/api/v1/projects/" + made.body["id"].get<std::string>() + "/models?q=plain");
    EXPECT_EQ(models.body["data"][0]["access"], row.plain);
    EXPECT_EQ(made.body["budget"]["balance"]["coins"], row.limit) << "starting coins come once, at once";
}

INSTANTIATE_TEST_SUITE_P(spec_config_1, ProjectLimits,
                         ::testing::Values(ProjectLimitRow{"named", "30", "account", {"lab"}, "blocked"},
                                           ProjectLimitRow{"grouped", "20", "group:lab", {"lab"}, "allowed"},
                                           ProjectLimitRow{"unheard-of", "7", "account", {}, "allowed"}),
                         [](const auto& each) {
                             std::string name = each.param.name;
                             for (char& c : name) c = c == '-' ? '_' : c;
                             return name;
                         });

TEST(Projects, a_new_name_brings_the_limits_of_that_name) {
    const HttpReply made = projects_admind().as_operator("POST", "/api/v1/projects", {{"name", "before"}});
    const std::string path = "/api/v1/projects/" + made.body["id"].get<std::string>();
    EXPECT_EQ(made.body["budget"]["limit"]["coins"], "7");
    const HttpReply renamed = projects_admind().as_operator("PATCH", path, {{"name", "another"}});
    ASSERT_EQ(renamed.status, 200) << renamed.text;
    EXPECT_EQ(renamed.body["budget"]["limit"]["coins"], "12");
}

}  // namespace
}  // namespace lumen::admind

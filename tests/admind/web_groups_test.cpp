// Groups, access rules, lists and the audit log over REST.
#include <gtest/gtest.h>

#include <set>

#include "admind/rest/csv.h"
#include "admind/settings/claim_rules.h"
#include "tests/admind/private_admind.h"

namespace lumen::admind {
namespace {

std::string new_group(const Json& wishes) {
    static int number = 0;
    const std::string name = "made-" + std::to_string(++number);
    Json body = wishes;
    body["name"] = name;
    const HttpReply made = admind().as_operator("POST", "/api/v1/admin/groups", body);
    EXPECT_EQ(made.status, 201) << made.text;
    return name;
}

HttpReply with_tag(const std::string& method, const std::string& path, const std::string& tag,
                   const Json& body = nullptr) {
    Headers headers = admind().operator_headers();
    headers.emplace_back("If-Match", tag);
    if (body.is_null()) return admind().call(method, path, headers);
    headers.emplace_back("Content-Type", "application/json");
    return admind().call(method, path, headers, body.dump());
}

TEST(Groups, made_over_rest_give_their_members_what_they_say) {
    const std::string group = new_group(
        {{"max", "12.5"}, {"refresh", 1}, {"description", "Made"}, {"model_access", {{"blocked", {"plain"}}}}});
    const auto person = admind().new_person("");
    const std::string member = "/api/v1/admin/groups/" + group + "/members/" + person.account;
    ASSERT_EQ(admind().as_operator("PUT", member).status, 204);
    EXPECT_EQ(admind().as_operator("PUT", member).status, 204) << "again changes nothing";
    const Json account = admind().as_operator("GET", "/api/v1/admin/accounts/" + person.account).body;
    EXPECT_EQ(account["budget"]["limit"]["coins"], "12.5");
    EXPECT_EQ(account["budget"]["source"], "group:" + group);
    const Json access = admind().as_operator("GET", "/api/v1/admin/access?model=plain&account=" + person.account).body;
    EXPECT_EQ(access["access"], "blocked");
    EXPECT_EQ(access["refusal"], "model_access_denied");
    const Json members = admind().as_operator("GET", "/api/v1/admin/groups/" + group + "/members").body;
    ASSERT_EQ(members["data"].size(), 1u);
    EXPECT_EQ(members["data"][0]["via"], "manual");

    const std::string path = "/api/v1/admin/groups/" + group;
    EXPECT_EQ(admind().as_operator("PUT", path, {{"max", "-2"}}).body["max"], "-2");
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/accounts/" + person.account).body["budget"]["state"],
              "unlimited");
    EXPECT_EQ(admind().as_operator("PUT", path, {{"max", "3"}, {"active", false}}).status, 200);
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/accounts/" + person.account).body["budget"]["state"], "none")
        << "an inactive group gives nothing";
    EXPECT_EQ(admind().as_operator("DELETE", path).status, 204);
    EXPECT_EQ(admind().as_operator("GET", path).status, 404);
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/accounts/" + person.account).body["groups"].size(), 1u)
        << "`default` is left";
}

TEST(Groups, of_the_file_are_the_files) {
    for (const auto& [method, body] :
         std::vector<std::pair<const char*, Json>>{{"PUT", {{"max", "1"}}}, {"DELETE", nullptr}}) {
        EXPECT_EQ(admind().as_operator(method, "/api/v1/admin/groups/staff", body).code(), "managed_by_config");
    }
    EXPECT_EQ(admind().as_operator("POST", "/api/v1/admin/groups", {{"name", "staff"}}).code(), "name_taken");
    const HttpReply group = admind().as_operator("GET", "/api/v1/admin/groups/staff");
    EXPECT_EQ(group.body["managed_by"], "config");
    EXPECT_EQ(group.body["max"], "20");
}

TEST(Groups, are_read_by_the_rules_of_the_file) {
    const HttpReply reply = admind().as_operator("POST", "/api/v1/admin/groups",
                                                 {{"name", "wrong"},
                                                  {"max", "-1"},
                                                  {"refresh", "x"},
                                                  {"model_access", {{"default", "maybe"}}},
                                                  {"color", 1},
                                                  {"rules", Json::array({{{"field", "idp"}, {"equals", ""}}})}});
    EXPECT_EQ(reply.status, 422);
    std::set<std::string> found;
    for (const Json& error : reply.body["errors"])
        found.insert(error["path"].get<std::string>() + ": " + error["message"].get<std::string>());
    for (const char* wanted : {"max: must be -2, 0 or positive", "refresh: expected decimal, got \"x\"",
                               "model_access.default: must be allowed or blocked", "rules[0]: can never match"}) {
        EXPECT_EQ(found.count(wanted), 1u) << wanted << "\n" << reply.text;
    }
    EXPECT_NE(reply.text.find("unknown_field"), std::string::npos);
    EXPECT_EQ(admind().as_operator("POST", "/api/v1/admin/groups", {{"name", "default"}}).status, 422);
    EXPECT_EQ(admind().as_operator("POST", "/api/v1/admin/groups", {{"name", std::string(65, 'a')}}).status, 422);
    EXPECT_EQ(admind().as_operator("POST", "/api/v1/admin/groups", {{"name", std::string("a\0b", 3)}}).status, 422);
}

TEST(Groups, a_change_in_between_is_noticed) {
    const std::string path = "/api/v1/admin/groups/" + new_group({{"max", "1"}});
    const std::string tag = admind().as_operator("GET", path).header("etag");
    EXPECT_EQ(with_tag("PUT", path, tag, {{"max", "2"}}).status, 200);
    EXPECT_EQ(with_tag("PUT", path, tag, {{"max", "3"}}).code(), "precondition_failed");
}

TEST(Groups, take_in_and_let_go_those_whose_claims_follow_a_changed_rule) {
    const auto person = admind().new_person("");
    admind().execute("insert into sign_in_claims (account_id, claims) values (" + person.account +
                     ", '{\"unit\": \"physics of " + person.account + "\"}')");
    const auto rules = [&](const std::string& unit) {
        return Json::array({{{"field", "unit"}, {"equals", unit + " of " + person.account}}});
    };
    const std::string group = new_group({{"max", "9"}, {"rules", rules("physics")}});
    const std::string path = "/api/v1/admin/groups/" + group;
    const auto limit = [&] {
        return admind().as_operator("GET", "/api/v1/admin/accounts/" + person.account).body["budget"]["limit"];
    };
    const auto members = [&] { return admind().as_operator("GET", path + "/members").body["data"]; };
    ASSERT_EQ(members().size(), 1u);
    EXPECT_EQ(members()[0]["via"], "rule");
    EXPECT_EQ(limit()["coins"], "9");
    const std::string member = path + "/members/" + person.account;
    EXPECT_EQ(admind().as_operator("DELETE", member).code(), "member_by_rule");

    ASSERT_EQ(admind().as_operator("PUT", member).status, 204);
    EXPECT_EQ(members()[0]["via"], "manual");
    ASSERT_EQ(admind().as_operator("DELETE", member).status, 204);
    EXPECT_EQ(members()[0]["via"], "rule") << "by hand no longer, but the rule still holds";

    EXPECT_EQ(admind().as_operator("PUT", path, {{"max", "9"}, {"rules", rules("chemistry")}}).status, 200);
    EXPECT_EQ(members().size(), 0u);
    EXPECT_TRUE(limit().is_null());
    EXPECT_EQ(admind().as_operator("PUT", path, {{"max", "9"}, {"rules", rules("physics")}}).status, 200);
    EXPECT_EQ(limit()["coins"], "9");
}

TEST(Groups, match_says_which_rule_takes_whom) {
    const std::string group = new_group({{"rules", Json::array({{{"field", "affiliation"}, {"contains", "staff@"}},
                                                                {{"field", "org.unit"}, {"equals", "physics"}}})}});
    const auto of_group = [&](const Json& claims) {
        const Json body = admind().as_operator("POST", "/api/v1/admin/groups/match", {{"claims", claims}}).body;
        for (const Json& one : body["groups"]) {
            if (one["name"] == group) return one;
        }
        return Json();
    };
    const Json one = of_group({{"affiliation", "staff@illinois.edu"}, {"org", {{"unit", "chemistry"}}}});
    EXPECT_EQ(one["matches"], false);
    EXPECT_EQ(one["rules"][0]["matches"], true);
    EXPECT_EQ(one["rules"][1]["matches"], false);
    EXPECT_EQ(of_group({{"affiliation", "staff@illinois.edu"}, {"org", {{"unit", "physics"}}}})["matches"], true);
}

struct ClaimRow {
    const char* name;
    ClaimRule rule;
    Json claims;
    bool matches;
};
class Claims : public ::testing::TestWithParam<ClaimRow> {};
TEST_P(Claims, match_as_spec_rest_5_says) {
    EXPECT_EQ(rule_matches(GetParam().rule, GetParam().claims), GetParam().matches);
}
INSTANTIATE_TEST_SUITE_P(
    spec_rest_5, Claims,
    ::testing::Values(
        ClaimRow{"contains_is_a_substring", {"a", "aff", {}}, {{"a", "staff"}}, true},
        ClaimRow{"contains_minds_case", {"a", "AFF", {}}, {{"a", "staff"}}, false},
        ClaimRow{"equals_is_the_whole", {"a", {}, "staff"}, {{"a", "staff1"}}, false},
        ClaimRow{"contains_on_a_list_is_an_element", {"a", "aff", {}}, {{"a", {"staff"}}}, false},
        ClaimRow{"equals_on_a_list_is_an_element", {"a", {}, "staff"}, {{"a", {"x", "staff"}}}, true},
        ClaimRow{"absent", {"b", "x", {}}, {{"a", "x"}}, false},
        ClaimRow{"dotted_path", {"a.b", {}, "x"}, {{"a", {{"b", "x"}}}}, true},
        ClaimRow{"a_claim_of_that_very_name_first", {"a.b", {}, "x"}, {{"a.b", "x"}, {"a", {{"b", "y"}}}}, true},
        ClaimRow{"both_are_needed", {"a", "st", "staff1"}, {{"a", "staff"}}, false},
        ClaimRow{"both_match", {"a", "st", "staff"}, {{"a", "staff"}}, true},
        ClaimRow{"no_matcher", {"a", {}, {}}, {{"a", "x"}}, false},
        ClaimRow{"empty_matcher", {"a", "", {}}, {{"a", "x"}}, false},
        ClaimRow{"no_field", {"", "x", {}}, {{"", "x"}}, false},
        ClaimRow{"a_number_is_no_text", {"a", "1", {}}, {{"a", 1}}, false}),
    [](const auto& each) { return std::string(each.param.name); });

// ---- access

TEST(Access, own_rules_are_set_explained_and_kept) {
    const auto person = admind().new_person("5");
    const std::string path = "/api/v1/admin/accounts/" + person.account;
    const HttpReply set =
        admind().as_operator("PUT", path + "/access", {{"default", "blocked"}, {"allowed", {"asks"}}});
    ASSERT_EQ(set.status, 200) << set.text;
    EXPECT_EQ(set.body["rules"],
              (Json{{"default", "blocked"}, {"allowed", {"asks"}}, {"blocked", Json::array()}, {"from", "admin"}}));
    const auto explain = [&](const char* model) {
        return admind().as_operator("GET", "/api/v1/admin/access?account=" + person.account + "&model=" + model).body;
    };
    const Json asks = explain("asks");
    EXPECT_EQ(asks["access"], "need_consent");
    EXPECT_EQ(asks["refusal"], "model_consent_required");
    EXPECT_EQ(asks["steps"][0], (Json{{"step", "own rule"}, {"found", "allowed"}, {"decides", true}}));
    const Json plain = explain("plain");
    EXPECT_EQ(plain["access"], "blocked");
    EXPECT_EQ(plain["source"], "own_default");
    EXPECT_EQ(explain("off")["refusal"], "model_not_found");
    EXPECT_EQ(admind().as_operator("PUT", path + "/access", {{"allowed", {"no-such-model"}}}).status, 422);
    EXPECT_EQ(admind().as_operator("PUT", path + "/access", Json::object()).body["rules"]["default"], nullptr);
    EXPECT_EQ(explain("plain")["served"], true);
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/access?account=1").code(), "invalid_request");
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/access?account=999999&model=plain").status, 404);
}

struct CellRow {
    const char* name;
    const char* text;
    const char* cell;
};
class Cells : public ::testing::TestWithParam<CellRow> {};
TEST_P(Cells, are_safe_B27) {
    EXPECT_EQ(csv_cell(GetParam().text), GetParam().cell);
}
INSTANTIATE_TEST_SUITE_P(B27, Cells,
                         ::testing::Values(CellRow{"equals", "=1", "'=1"}, CellRow{"plus", "+1", "'+1"},
                                           CellRow{"minus", "-a", "'-a"}, CellRow{"at", "@a", "'@a"},
                                           CellRow{"tab", "\ta", "'\ta"}, CellRow{"carriage_return", "\ra", "\"'\ra\""},
                                           CellRow{"negative_number", "-1.5", "-1.5"}, CellRow{"plain", "a b", "a b"},
                                           CellRow{"comma", "a,b", "\"a,b\""}, CellRow{"quote", "a\"b", "\"a\"\"b\""},
                                           CellRow{"line", "a\nb", "\"a\nb\""}, CellRow{"nothing", "", ""}),
                         [](const auto& each) { return std::string(each.param.name); });

// ---- audit

TEST(Audit, says_who_changed_what_from_what_to_what) {
    const auto person = admind().new_person("5");
    const std::string path = "/api/v1/admin/accounts/" + person.account;
    const HttpReply changed = admind().as_operator("PUT", path + "/limits", {{"max", "6"}});
    const Json log = admind().as_operator("GET", "/api/v1/admin/audit?target=account:" + person.account).body;
    const Json& last = log["data"][0];
    EXPECT_EQ(last["action"], "account.limits");
    EXPECT_EQ(last["before"]["max"], "5");
    EXPECT_EQ(last["after"]["max"], "6");
    EXPECT_EQ(last["request_id"], changed.header("x-request-id"));
    EXPECT_EQ(last["actor"].get<std::string>().substr(0, 6), "token:");
    EXPECT_EQ(admind().as_operator("GET", "/api/v1/admin/audit?action=no.such").body["data"].size(), 0u);
}

// ---- hostile strings (B26)

const std::vector<std::string>& hostile_strings() {
    static const std::vector<std::string> strings{"\"><img src=x onerror=alert(1)>",
                                                  "');alert(1)//",
                                                  "</script><script>alert(1)</script>",
                                                  "javascript:alert(1)",
                                                  "\xE2\x80\xAEgnp.exe",
                                                  "'; drop table users; --",
                                                  "%00%2e%2e%2f",
                                                  "${file:/etc/passwd}",
                                                  "{{7*7}}",
                                                  "a\\u0000b",
                                                  "\xF0\x9F\x92\xA9",
                                                  std::string(10'000, 'x')};
    return strings;
}

/// As much of it as a request line may have.
std::string percent(const std::string& whole) {
    const std::string text = whole.substr(0, 4000);
    static constexpr char kHex[] = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        out += '%';
        out += kHex[byte >> 4];
        out += kHex[byte & 15];
    }
    return out;
}

TEST(Hostile, strings_come_back_as_they_were_or_are_refused_B26) {
    const auto person = admind().new_person("5");
    const auto echoed = [](const HttpReply& reply, const char* field, const std::string& text) {
        const bool refused = reply.status == 422 || reply.status == 404 || reply.status == 400 || reply.status == 409;
        if (!refused) {
            EXPECT_EQ(reply.body[field], text) << reply.text.substr(0, 300);
        }
        EXPECT_LT(reply.status, 500) << text.substr(0, 60);
    };
    int number = 0;
    for (const std::string& text : hostile_strings()) {
        const std::string email = "hostile-" + std::to_string(++number) + "@example.edu";
        echoed(admind().as_operator("POST", "/api/v1/admin/users", {{"email", email}, {"name", text}}), "name", text);
        echoed(admind().as_operator("POST", "/api/v1/admin/users", {{"email", text}, {"name", "n"}}), "email", text);
        echoed(admind().as_operator("POST", "/api/v1/admin/accounts/" + person.account + "/keys", {{"name", text}}),
               "name", text);
        echoed(admind().as_operator("POST", "/api/v1/admin/operator-tokens", {{"name", text}, {"scope", "read"}}),
               "name", text);
        echoed(admind().as_operator("POST", "/api/v1/admin/groups", {{"name", text}, {"description", text}}), "name",
               text);
        if (text.size() < 4000) {
            echoed(admind().as_operator("GET", "/api/v1/admin/groups/" + percent(text)), "name", text);
        }
        const std::string model = "hostile-" + std::to_string(number);
        const HttpReply made = admind().as_operator("POST", "/api/v1/admin/models",
                                                    {{"name", model}, {"description", text}, {"ack_message", text}});
        if (made.status == 201) {
            EXPECT_EQ(made.body["card"]["description"], text);
            EXPECT_EQ(
                admind().as_operator("DELETE", "/api/v1/admin/models/" + made.body["id"].get<std::string>()).status,
                204);
        }
        EXPECT_LT(made.status, 500);
        for (const char* path : {"/api/v1/admin/users?q=", "/api/v1/admin/users?cursor=", "/api/v1/admin/audit?target=",
                                 "/api/v1/admin/users?sort=", "/api/v1/admin/access?account=1&model=",
                                 "/api/v1/admin/ledger?account=", "/api/v1/admin/users/", "/api/v1/login?next="}) {
            const HttpReply reply = admind().as_operator("GET", path + percent(text));
            EXPECT_LT(reply.status, 500) << path << text.substr(0, 60) << reply.text;
            if (reply.status != 302) {
                EXPECT_NE(reply.header("content-type").find("json"), std::string::npos) << path;
            }
        }
    }
}

}  // namespace
}  // namespace lumen::admind

// Who may call what: each route of the table against each kind of caller, and each unsafe one from other sites. A route
// without a row here fails, so that nobody adds one without saying whose it is.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "admind/people/operator_tokens.h"
#include "admind/people/sessions.h"
#include "admind/rest/api_contract.h"
#include "admind/rest/http_server.h"
#include "admind/rest/routes.h"
#include "lumen_core/catalogue.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_contract.h"

namespace lumen::admind {
namespace {

/// Column "Who" of spec/rest.md §2: P public, U signed in, M project manager, O owner, A admin, X token of scope admin.
const std::map<std::string, char>& rights() {
    static const std::map<std::string, char> table{
        {"GET /healthz", 'P'},
        {"GET /readyz", 'P'},
        {"GET /metrics", 'P'},
        {"GET /api/openapi.json", 'P'},
        {"GET /api/v1/login", 'P'},
        {"POST /api/v1/devlogin", 'P'},
        {"POST /api/v1/logout", 'U'},
        {"GET /api/v1/session", 'P'},
        {"GET /api/v1/site", 'P'},
        {"GET /api/v1/projects", 'M'},
        {"POST /api/v1/projects", 'A'},
        {"GET /api/v1/projects/{id}", 'M'},
        {"PATCH /api/v1/projects/{id}", 'O'},
        {"POST /api/v1/projects/{id}/managers", 'O'},
        {"DELETE /api/v1/projects/{id}/managers/{user}", 'O'},
        {"PUT /api/v1/projects/{id}/owner", 'O'},
        {"GET /api/v1/projects/{id}/user-search", 'O'},
        {"POST /api/v1/projects/{id}/keys/draft", 'M'},
        {"DELETE /api/v1/projects/{id}/keys/draft/{draft}", 'M'},
        {"GET /api/v1/projects/{id}/keys", 'M'},
        {"POST /api/v1/projects/{id}/keys", 'M'},
        {"PATCH /api/v1/projects/{id}/keys/{key}", 'M'},
        {"DELETE /api/v1/projects/{id}/keys/{key}", 'M'},
        {"GET /api/v1/projects/{id}/models", 'M'},
        {"POST /api/v1/projects/{id}/consents", 'M'},
        {"GET /callback", 'P'},
        {"GET /api/v1/me", 'U'},
        {"PATCH /api/v1/me", 'U'},
        {"GET /api/v1/me/avatar", 'U'},
        {"GET /api/v1/usage/forecast", 'U'},
        {"GET /api/v1/models", 'P'},
        {"GET /api/v1/models/{name}", 'P'},
        {"GET /api/v1/readmes/{name}", 'P'},
        {"GET /api/v1/me/profile", 'U'},
        {"POST /api/v1/me/keys/draft", 'U'},
        {"DELETE /api/v1/me/keys/draft/{id}", 'U'},
        {"GET /api/v1/me/keys", 'U'},
        {"POST /api/v1/me/keys", 'U'},
        {"PATCH /api/v1/me/keys/{id}", 'U'},
        {"DELETE /api/v1/me/keys/{id}", 'U'},
        {"GET /api/v1/me/models", 'U'},
        {"POST /api/v1/me/consents", 'U'},
        {"GET /api/v1/admin/users", 'A'},
        {"POST /api/v1/admin/users", 'A'},
        {"GET /api/v1/admin/users/{id}", 'A'},
        {"PATCH /api/v1/admin/users/{id}", 'A'},
        {"GET /api/v1/admin/accounts/{id}", 'A'},
        {"GET /api/v1/admin/accounts/{id}/statement", 'A'},
        {"PUT /api/v1/admin/accounts/{id}/limits", 'A'},
        {"DELETE /api/v1/admin/accounts/{id}/limits", 'A'},
        {"POST /api/v1/admin/accounts/{id}/grants", 'A'},
        {"POST /api/v1/admin/accounts/{id}/reset", 'A'},
        {"GET /api/v1/admin/accounts/{id}/keys", 'A'},
        {"POST /api/v1/admin/accounts/{id}/keys", 'A'},
        {"DELETE /api/v1/admin/accounts/{id}/keys/{key}", 'A'},
        {"PUT /api/v1/admin/accounts/{id}/access", 'A'},
        {"GET /api/v1/admin/access", 'A'},
        {"GET /api/v1/admin/groups", 'A'},
        {"POST /api/v1/admin/groups", 'A'},
        {"POST /api/v1/admin/groups/match", 'A'},
        {"GET /api/v1/admin/groups/{name}", 'A'},
        {"PUT /api/v1/admin/groups/{name}", 'A'},
        {"DELETE /api/v1/admin/groups/{name}", 'A'},
        {"GET /api/v1/admin/groups/{name}/members", 'A'},
        {"PUT /api/v1/admin/groups/{name}/members/{account}", 'A'},
        {"DELETE /api/v1/admin/groups/{name}/members/{account}", 'A'},
        {"GET /api/v1/admin/config", 'A'},
        {"PUT /api/v1/admin/config", 'X'},
        {"POST /api/v1/admin/config/validate", 'A'},
        {"GET /api/v1/admin/config/status", 'A'},
        {"GET /api/v1/admin/audit", 'A'},
        {"GET /api/v1/admin/models", 'A'},
        {"GET /api/v1/admin/models/{id}", 'A'},
        {"POST /api/v1/admin/models", 'A'},
        {"PUT /api/v1/admin/models/{id}", 'A'},
        {"DELETE /api/v1/admin/models/{id}", 'A'},
        {"POST /api/v1/admin/models/{id}/ask-again", 'A'},
        {"POST /api/v1/admin/models/{id}/sync", 'A'},
        {"GET /api/v1/admin/models/{id}/prices", 'A'},
        {"POST /api/v1/admin/models/{id}/prices", 'A'},
        {"DELETE /api/v1/admin/models/{id}/prices/{price}", 'A'},
        {"GET /api/v1/admin/models/{id}/endpoints", 'A'},
        {"POST /api/v1/admin/models/{id}/endpoints", 'A'},
        {"PUT /api/v1/admin/models/{id}/endpoints/{eid}", 'A'},
        {"DELETE /api/v1/admin/models/{id}/endpoints/{eid}", 'A'},
        {"POST /api/v1/admin/models/{id}/endpoints/{eid}/drain", 'A'},
        {"POST /api/v1/admin/models/{id}/endpoints/{eid}/activate", 'A'},
        {"POST /api/v1/admin/models/{id}/endpoints/{eid}/probe", 'A'},
        {"GET /api/v1/admin/ledger", 'A'},
        {"POST /api/v1/admin/refill", 'A'},
        {"GET /api/v1/admin/operator-tokens", 'X'},
        {"POST /api/v1/admin/operator-tokens", 'X'},
        {"DELETE /api/v1/admin/operator-tokens/{id}", 'X'},
    };
    return table;
}

std::string key_of(const Route& route) {
    return std::string(route.method) + " " + std::string(route.pattern);
}

/// The pattern with ids that nothing has: rights are decided before anything is looked for.
std::string path_of(const Route& route) {
    std::string path(route.pattern);
    for (std::size_t open = path.find('{'); open != std::string::npos; open = path.find('{')) {
        path.replace(open, path.find('}', open) - open + 1, "999999999");
    }
    return path;
}

enum class Caller : std::uint8_t { nobody, api_key, user, admin, read, write, scope_admin };
constexpr Caller kCallers[] = {Caller::nobody, Caller::api_key, Caller::user,       Caller::admin,
                               Caller::read,   Caller::write,   Caller::scope_admin};

/// What the refusal's code is; empty: it is let in.
std::string refusal_of(char who, bool safe, Caller caller) {
    if (who == 'P') return "";
    if (caller == Caller::nobody || caller == Caller::api_key) return "unauthenticated";
    const bool by_token = caller == Caller::read || caller == Caller::write || caller == Caller::scope_admin;
    if (!by_token) {
        const bool everybody = who == 'U' || who == 'M' || who == 'O';  // of projects: 404 hides those of others
        return everybody || caller == Caller::admin ? "" : "forbidden";
    }
    if (who == 'U') return "operator_not_allowed";
    const Caller needed = who == 'X' ? Caller::scope_admin : safe ? Caller::read : Caller::write;
    return caller >= needed ? "" : "insufficient_scope";
}

const std::set<std::string> kRefusals{"unauthenticated", "forbidden", "operator_not_allowed", "insufficient_scope",
                                      "csrf_rejected"};

class Rights : public ::testing::Test {
 protected:
    static void SetUpTestSuite() { admind_ = std::make_unique<PrivateAdmind>(kSettings); }
    static void TearDownTestSuite() { admind_.reset(); }

    static constexpr const char* kSettings =
        "rate_limiting: {login: 100000 per minute, write: 100000 per minute}\n"
        "models: [{name: plain, input_cost_per_million: 1}]\n";

    std::string token(OperatorScope scope) {
        pqxx::connection connection(admind_->database);
        pqxx::work transaction(connection);
        const auto made = create_operator_token(transaction, PrivateAdmind::kSecret, "rights", scope, 0, "tests");
        transaction.commit();
        return "Bearer " + made.secret;
    }

    /// A session of its own for each call, as one of the calls ends it.
    Headers cookie(bool admin) {
        if (admin && dev_.cookie.empty()) {
            admind_->call("POST", "/api/v1/devlogin", {{"Sec-Fetch-Site", "same-origin"}});
            const auto row = admind_->row("select id, account_id from users where email = 'dev@example.edu'");
            dev_ = admind_->browser_of(std::stoll(row[0]), row[1]);
        }
        if (!admin && person_.cookie.empty()) person_ = admind_->new_person("");
        const auto& who = admin ? dev_ : person_;
        return {{"Cookie", std::string(kSessionCookie) + "=" + admind_->browser_of(who.user, who.account).cookie},
                {"Sec-Fetch-Site", "same-origin"}};
    }

    Headers headers_of(Caller caller) {
        switch (caller) {
            case Caller::nobody:
                return {{"Sec-Fetch-Site", "same-origin"}};
            case Caller::api_key:
                return {{"Authorization", "Bearer " + api_key()}};
            case Caller::user:
                return cookie(false);
            case Caller::admin:
                return cookie(true);
            case Caller::read:
                return {{"Authorization", read_}};
            case Caller::write:
                return {{"Authorization", write_}};
            case Caller::scope_admin:
                return {{"Authorization", admin_}};
        }
        return {};
    }

    /// A working key: good for /v1, and for nothing here.
    std::string api_key() {
        if (key_.empty()) {
            const auto person = admind_->new_person("5");
            key_ = admind_->as_operator("POST", "/api/v1/admin/accounts/" + person.account + "/keys", {{"name", "k"}})
                       .body["key"]
                       .get<std::string>();
        }
        return key_;
    }

    HttpReply call(const Route& route, Headers headers) {
        if (route.demand == Demand::if_match) headers.emplace_back("If-Match", "\"nothing\"");
        if (route.demand == Demand::idempotency_key) headers.emplace_back("Idempotency-Key", new_request_id());
        return admind_->call(std::string(route.method), path_of(route), headers);
    }

    static std::unique_ptr<PrivateAdmind> admind_;
    PrivateAdmind::Browser dev_;
    PrivateAdmind::Browser person_;
    std::string key_;
    const std::string read_ = token(OperatorScope::read);
    const std::string write_ = token(OperatorScope::write);
    const std::string admin_ = token(OperatorScope::admin);
};
std::unique_ptr<PrivateAdmind> Rights::admind_;

TEST_F(Rights, every_route_has_a_row_and_every_row_a_route) {
    std::set<std::string> there;
    for (const Route& route : routes()) {
        there.insert(key_of(route));
        EXPECT_EQ(rights().count(key_of(route)), 1u) << "say in rights() who may call " << key_of(route);
    }
    for (const auto& [route, who] : rights()) EXPECT_EQ(there.count(route), 1u) << "there is no route " << route;
}

TEST_F(Rights, each_caller_gets_what_the_table_says_of_each_route) {
    for (const Route& route : routes()) {
        const auto row = rights().find(key_of(route));
        if (row == rights().end()) continue;
        const bool safe = route.method == "GET";
        for (const Caller caller : kCallers) {
            const HttpReply reply = call(route, headers_of(caller));
            const std::string wanted = refusal_of(row->second, safe, caller);
            const std::string code = kRefusals.count(reply.code()) > 0 ? reply.code() : "";
            if (route.pattern == "/metrics") continue;  // has a token of its own
            EXPECT_EQ(code, wanted) << key_of(route) << " as caller " << static_cast<int>(caller) << "\n" << reply.text;
            if (!wanted.empty()) {
                EXPECT_EQ(reply.status, wanted == "unauthenticated" ? 401 : 403) << key_of(route);
            }
            EXPECT_LT(reply.status, 500) << key_of(route) << "\n" << reply.text;
        }
    }
}

struct Origin {
    const char* name;
    Headers headers;
    bool ours;
};
TEST_F(Rights, unsafe_routes_take_no_request_from_another_site) {
    const std::vector<Origin> origins{
        {"cross-site", {{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}}, false},
        {"same-site", {{"Sec-Fetch-Site", "same-site"}}, false},
        {"none", {{"Sec-Fetch-Site", "none"}}, false},
        {"cross-site that claims our origin",
         {{"Sec-Fetch-Site", "cross-site"}, {"Origin", PrivateAdmind::kPublicUrl}},
         false},
        {"missing", {}, false},
        {"null", {{"Origin", "null"}}, false},
        {"other origin", {{"Origin", "https://evil.example"}}, false},
        {"longer origin", {{"Origin", std::string(PrivateAdmind::kPublicUrl) + ".evil.example"}}, false},
        {"our origin", {{"Origin", PrivateAdmind::kPublicUrl}}, true}};
    for (const Route& route : routes()) {
        if (route.method == "GET") continue;
        for (const Origin& origin : origins) {
            Headers headers = origin.headers;
            headers.push_back(cookie(true)[0]);
            const HttpReply reply = call(route, headers);
            EXPECT_EQ(reply.code() == "csrf_rejected", !origin.ours) << key_of(route) << " from " << origin.name;
        }
    }
}

TEST_F(Rights, a_cookie_beside_a_token_counts_for_nothing) {
    Headers headers = cookie(true);
    headers.emplace_back("Authorization", read_);
    EXPECT_EQ(admind_->call("POST", "/api/v1/admin/refill", headers).code(), "insufficient_scope");
    EXPECT_EQ(admind_->call("GET", "/api/v1/me", headers).code(), "operator_not_allowed");
}

TEST_F(Rights, an_expired_or_revoked_token_is_nobodys) {
    const std::string secret = token(OperatorScope::admin);
    const Headers headers{{"Authorization", secret}};
    EXPECT_EQ(admind_->call("GET", "/api/v1/admin/users", headers).status, 200);
    admind_->execute(
        "update operator_tokens set expires_at = now() - interval '1 second' where id ="
        " (select max(id) from operator_tokens)");
    EXPECT_EQ(admind_->call("GET", "/api/v1/admin/users", headers).status, 401);
    const HttpReply made =
        admind_->as_operator("POST", "/api/v1/admin/operator-tokens", {{"name", "short"}, {"scope", "read"}});
    const Headers own{{"Authorization", "Bearer " + made.body["token"].get<std::string>()}};
    EXPECT_EQ(admind_->call("GET", "/api/v1/admin/users", own).status, 200);
    EXPECT_EQ(
        admind_->as_operator("DELETE", "/api/v1/admin/operator-tokens/" + made.body["id"].get<std::string>()).status,
        204);
    EXPECT_EQ(admind_->call("GET", "/api/v1/admin/users", own).status, 401);
}

TEST_F(Rights, changes_have_a_rate_of_their_own) {
    const PrivateAdmind slow("rate_limiting: {write: 3 per hour}\nmodels: []\n");
    // The hour may end in between, once.
    int refused = 0;
    HttpReply last;
    for (int i = 0; i < 8; ++i) {
        last = slow.as_operator("POST", "/api/v1/admin/refill");
        if (last.status == 429) ++refused;
    }
    EXPECT_GE(refused, 2);
    EXPECT_EQ(last.code(), "rate_limited");
    EXPECT_GT(std::stoi(last.header("retry-after")), 0);
    EXPECT_EQ(slow.as_operator("GET", "/api/v1/admin/users").status, 200) << "reading is no change";
}

// ---- the contract itself

TEST(Contract, lists_what_common_parts_need) {
    const Json& contract = api_contract();
    EXPECT_EQ(contract["openapi"], "3.1.0");
    const Json& grant = contract["paths"]["/api/v1/admin/accounts/{id}/grants"]["post"];
    EXPECT_EQ(grant["x-lumen-who"], "A");
    EXPECT_EQ(grant["parameters"].back()["name"], "Idempotency-Key");
    for (const char* status : {"200", "400", "401", "403", "404", "409", "413", "415", "422", "429", "503"}) {
        EXPECT_TRUE(grant["responses"].contains(status)) << status;
    }
}

struct BrokenReply {
    const char* name;
    int status;
    const char* type;
    const char* body;
    const char* violation;
};
class BrokenReplies : public ::testing::TestWithParam<BrokenReply> {};
TEST_P(BrokenReplies, are_seen) {
    HttpReply reply;
    reply.status = GetParam().status;
    reply.text = GetParam().body;
    reply.body = parse_json(reply.text).value_or(Json());
    reply.headers.emplace("content-type", GetParam().type);
    const std::string wrong = contract_violation("GET", "/api/v1/session", reply);
    EXPECT_NE(wrong.find(GetParam().violation), std::string::npos) << wrong;
}
INSTANTIATE_TEST_SUITE_P(
    kinds, BrokenReplies,
    ::testing::Values(
        BrokenReply{"status", 418, "application/json", "{}", "unlisted"},
        BrokenReply{"media_type", 200, "text/html", "{}", "unlisted"},
        BrokenReply{"missing_field", 200, "application/json", "{}", "lacks `user`"},
        BrokenReply{"unlisted_field", 200, "application/json",
                    R"({"user":null,"is_admin":true,"expires_at":null,"now":"2026-01-31T09:11:05.123Z","more":1})",
                    "unlisted field `more`"},
        BrokenReply{"type", 200, "application/json",
                    R"({"user":null,"is_admin":"yes","expires_at":null,"now":"2026-01-31T09:11:05.123Z"})", "is no"},
        BrokenReply{"time", 200, "application/json",
                    R"({"user":null,"is_admin":true,"expires_at":null,"now":"2026-01-31 09:11"})", "not a time"},
        BrokenReply{"code", 400, "application/problem+json",
                    R"({"type":"about:blank","title":"t","status":400,"detail":"d","code":"made_up","request_id":"r"})",
                    "not one of"}),
    [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace lumen::admind

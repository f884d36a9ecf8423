// Model access and consent as a person sees them (P55–P64), and what happens while a store is away.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "lumen_core/account_bucket.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

std::map<std::string, Json> models_of(const PrivateAdmind::Browser& person, const std::string& query = "") {
    std::map<std::string, Json> models;
    const HttpReply reply = person.call("GET", "/api/v1/me/models" + query);
    EXPECT_EQ(reply.status, 200) << reply.text;
    for (const Json& model : reply.body["data"]) {
        models[model["model"].get<std::string>()] = model;
    }
    return models;
}

HttpReply consent(const PrivateAdmind::Browser& person, const std::string& model, int version = 1) {
    return person.call("POST", "/api/v1/me/consents", {{"model", model}, {"notice_version", version}});
}

TEST(Models, every_model_is_there_with_its_access) {
    const auto person = admind().new_person();
    auto models = models_of(person);
    EXPECT_EQ(models["plain"]["access"], "allowed");
    EXPECT_EQ(models["asks"]["access"], "need_consent");
    EXPECT_EQ(models["asks"]["notice"], "Read this first.");
    EXPECT_EQ(models["hidden"]["access"], "blocked");
    EXPECT_EQ(models["hidden"]["source"], "model");
    EXPECT_EQ(models["kept-back"]["access"], "allowed");
    EXPECT_EQ(models.count("off"), 0u) << "disabled ones only when asked for";
    EXPECT_EQ(models_of(person, "?disabled=true")["off"]["status"], "disabled");
    EXPECT_EQ(models["asks"]["status"], "down") << "no endpoints";
}

TEST(Models, groups_change_the_access) {
    const HttpReply made = admind().as_operator(
        "POST", "/api/v1/admin/users", {{"email", admind().new_email()}, {"name", "S"}, {"groups", {"staff"}}});
    const auto person =
        admind().browser_of(std::stoll(made.body["id"].get<std::string>()), made.body["account"].get<std::string>());
    EXPECT_EQ(models_of(person)["kept-back"]["access"], "blocked");
    EXPECT_EQ(models_of(person)["kept-back"]["source"], "group_rule");
}

TEST(Models, use_is_added_up_per_model_and_makes_the_favorite) {
    const auto person = admind().new_person();
    const std::string plain = admind().row("select id from models where name = 'plain'")[0];
    const std::string asks = admind().row("select id from models where name = 'asks'")[0];
    for (const auto& [model, requests] : {std::pair{plain, "2"}, std::pair{asks, "3"}}) {
        admind().execute("insert into usage_quarter values (" + person.account + ", now(), 1, " + model + ", 1, 0, " +
                         requests + ", 100, 20, 7, now())");
    }
    const Json use = models_of(person)["plain"];
    EXPECT_EQ(use["requests"], 2);
    EXPECT_EQ(use["tokens"], 120);
    EXPECT_EQ(use["coins"]["coins"], "0.000000007");
    EXPECT_FALSE(use["last_used_at"].is_null());
    EXPECT_EQ(person.call("GET", "/api/v1/me").body["favorite_model"], "asks");
    const HttpReply sorted = person.call("GET", "/api/v1/me/models?sort=-requests&limit=1");
    EXPECT_EQ(sorted.body["data"][0]["model"], "asks");
    const HttpReply next = person.call(
        "GET", "/api/v1/me/models?sort=-requests&limit=1&cursor=" + sorted.body["next_cursor"].get<std::string>());
    EXPECT_EQ(next.body["data"][0]["model"], "plain");
    admind().execute("delete from usage_quarter where account_id = " + person.account);
}

/// What a problem says, but for the request it was of.
Json without_request(HttpReply reply) {
    reply.body.erase("request_id");
    return std::move(reply.body);
}

TEST(Models, D7_a_hidden_model_and_its_readme_answer_as_one_that_nobody_has) {
    const auto person = admind().new_person();
    for (const char* path : {"/api/v1/models/", "/api/v1/readmes/"}) {
        const std::string hidden = std::string(path) + "hidden";
        const std::string unknown = std::string(path) + "nothing-of-this-name";
        const std::string plain = std::string(path) + "plain";
        EXPECT_EQ(admind().call("GET", hidden, {}).status, 404) << path;
        EXPECT_EQ(without_request(admind().call("GET", hidden, {})),
                  without_request(admind().call("GET", unknown, {})));
        EXPECT_EQ(without_request(person.call("GET", hidden)), without_request(person.call("GET", unknown)));
        EXPECT_NE(person.call("GET", plain).status, 404) << "there is such a model: " << path;
    }
    admind().execute("update account_rules set allowed = array(select 'hidden'::text) where account_id = " +
                     person.account);
    EXPECT_EQ(person.call("GET", "/api/v1/models/hidden").status, 200);
    EXPECT_EQ(person.call("GET", "/api/v1/readmes/hidden").code(), "readme_unavailable") << "it names no page";
}

TEST(Consent, is_given_once_and_reaches_the_gate) {
    const auto person = admind().new_person();
    const HttpReply first = consent(person, "asks");
    ASSERT_EQ(first.status, 201) << first.text;
    EXPECT_EQ(consent(person, "asks").status, 200);
    EXPECT_EQ(models_of(person)["asks"]["access"], "consented");
    EXPECT_FALSE(models_of(person)["asks"]["consented_at"].is_null());
    RedisLink redis(admind().redis_server.url(), std::chrono::seconds(5));
    const std::string model = admind().row("select id from models where name = 'asks'")[0];
    EXPECT_EQ(reply_text(redis.command({"HGET", account_key(std::stoll(person.account)), "c:" + model}).get()), "1");
    EXPECT_EQ(models_of(admind().new_person())["asks"]["access"], "need_consent") << "another account's is its own";
}

struct ConsentRow {
    const char* name;
    const char* model;
    int version;
    int status;
    const char* code;
};
void PrintTo(const ConsentRow& row, std::ostream* out) {
    *out << row.name;
}
class ConsentRefused : public ::testing::TestWithParam<ConsentRow> {};
TEST_P(ConsentRefused, with_its_reason) {
    const HttpReply reply = consent(admind().new_person(), GetParam().model, GetParam().version);
    EXPECT_EQ(reply.status, GetParam().status) << reply.text;
    EXPECT_EQ(reply.code(), GetParam().code);
}
INSTANTIATE_TEST_SUITE_P(spec_rest_2, ConsentRefused,
                         ::testing::Values(ConsentRow{"not_needed", "plain", 1, 409, "consent_not_needed"},
                                           ConsentRow{"changed", "asks", 2, 409, "notice_changed"},
                                           ConsentRow{"disabled", "off", 1, 409, "model_disabled"},
                                           ConsentRow{"hidden", "hidden", 1, 404, "not_found"},
                                           ConsentRow{"unknown", "nothing", 1, 404, "not_found"},
                                           ConsentRow{"no_version", "asks", 0, 422, "validation_failed"}),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(Consent, to_a_blocked_model_is_refused) {
    const HttpReply made = admind().as_operator(
        "POST", "/api/v1/admin/users", {{"email", admind().new_email()}, {"name", "S"}, {"groups", {"staff"}}});
    const auto person =
        admind().browser_of(std::stoll(made.body["id"].get<std::string>()), made.body["account"].get<std::string>());
    const HttpReply reply = consent(person, "kept-back");
    EXPECT_EQ(reply.status, 403);
    EXPECT_EQ(reply.code(), "model_access_denied");
}

TEST(AdminModels, show_endpoints_prices_and_no_credential) {
    const HttpReply reply = admind().as_operator("GET", "/api/v1/admin/models?sort=-name");
    ASSERT_EQ(reply.status, 200);
    const auto plain = std::find_if(reply.body["data"].begin(), reply.body["data"].end(),
                                    [](const Json& model) { return model["name"] == "plain"; });
    ASSERT_NE(plain, reply.body["data"].end());
    EXPECT_EQ((*plain)["endpoints"][0]["api_key"], "********");
    EXPECT_EQ((*plain)["prices"]["input_per_million"], (Json{{"coins", "0.15"}, {"nano", "150000000"}}));
    EXPECT_EQ(reply.text.find("the-upstream-secret"), std::string::npos);
}

// ---- stores that are away

TEST(Outage, without_redis_it_says_so_keeps_showing_the_book_and_recovers) {
    PrivateAdmind alone("defaults: {tokens: {max: 5}}\nmodels: [{name: m, input_cost_per_million: 1}]\n");
    const auto person = alone.new_person("");
    const std::string path = "/api/v1/admin/accounts/" + person.account;
    const std::string key = alone.as_operator("POST", path + "/keys", {{"name", "k"}}).body["id"].get<std::string>();
    wait_until("the starting coins are in the book", [&] {
        return alone.row("select balance from account_balances where account_id = " + person.account) ==
               std::vector<std::string>{"5000000000"};
    });
    alone.redis_server.stop();
    EXPECT_EQ(person.call("GET", "/api/v1/me").code(), "redis_unavailable") << "sessions live in Redis";
    const HttpReply budget = alone.as_operator("GET", path);
    EXPECT_EQ(budget.body["budget"]["available"]["coins"], "5") << budget.text;
    const HttpReply revoked = alone.as_operator("DELETE", path + "/keys/" + key);
    EXPECT_EQ(revoked.status, 503) << "recorded, not yet in force";
    EXPECT_EQ(revoked.code(), "redis_unavailable");
    const HttpReply ready = alone.call("GET", "/readyz", {});
    EXPECT_EQ(ready.status, 503);
    EXPECT_EQ(ready.body["redis"], "unavailable");

    alone.redis_server.start();
    wait_until("all is well again", [&] { return alone.call("GET", "/readyz", {}).status == 200; });
    RedisLink redis(alone.redis_server.url(), std::chrono::seconds(5));
    wait_until("the revocation is in force", [&] {
        return reply_text(
                   redis.command({"HGET", api_key_key(std::stoll(person.account), std::stoll(key)), "st"}).get()) ==
               "2";
    });
    EXPECT_EQ(alone.as_operator("DELETE", path + "/keys/" + key).status, 204);
}

TEST(Outage, it_starts_before_redis_and_begins_to_work_when_that_comes) {
    PrivateAdmind late("models: [{name: m, input_cost_per_million: 1}]\n");
    late.stop();
    late.redis_server.stop();
    Settings settings = load_settings(late.directory.path() + "/lumen.yaml", {}).settings.value();
    settings.app.listen_port = 0;
    late.daemon = std::make_unique<Daemon>(std::move(settings), late.directory.path() + "/lumen.yaml", Environment{},
                                           late.directory.path());
    late.daemon->start();
    EXPECT_EQ(late.call("GET", "/healthz", {}).status, 200);
    EXPECT_EQ(late.call("GET", "/readyz", {}).status, 503);
    late.redis_server.start();
    wait_until("it is ready", [&] { return late.call("GET", "/readyz", {}).status == 200; });
}

TEST(Outage, without_the_database_it_answers_and_says_so) {
    PrivateAdmind alone("models: [{name: m, input_cost_per_million: 1}]\n");
    alone.stop();
    Settings settings = load_settings(alone.directory.path() + "/lumen.yaml", {}).settings.value();
    settings.app.listen_port = 0;
    settings.app.database_url = "postgresql://nobody@127.0.0.1:9/none";
    settings.app.database_pool_timeout = std::chrono::seconds(1);
    alone.daemon = std::make_unique<Daemon>(std::move(settings), alone.directory.path() + "/lumen.yaml", Environment{},
                                            alone.directory.path());
    alone.daemon->start();
    EXPECT_EQ(alone.call("GET", "/healthz", {}).status, 200);
    EXPECT_EQ(alone.call("GET", "/readyz", {}).body["database"], "unavailable");
    const HttpReply reply = alone.as_operator("GET", "/api/v1/admin/users");
    EXPECT_EQ(reply.status, 503);
    EXPECT_EQ(reply.code(), "database_unavailable");
    EXPECT_EQ(reply.header("retry-after"), "2");
}

TEST(Json, text_that_is_not_utf_8_never_throws) {
    EXPECT_NO_THROW(EXPECT_NE(to_text(Json{{"name", "a\xff\xfe"}}), ""));
    EXPECT_FALSE(is_utf8("\xc0\x80"));
    EXPECT_FALSE(is_utf8("\xed\xa0\x80"));
    EXPECT_FALSE(is_utf8("\xf5\x80\x80\x80"));
    EXPECT_FALSE(is_utf8("\xe2\x82"));
    EXPECT_TRUE(is_utf8("€ 😀 é"));
}

TEST(Json, times_and_amounts_are_exact_text) {
    EXPECT_EQ(utc_text(1'769'850'665'123), "2026-01-31T09:11:05.123Z");
    EXPECT_EQ(utc_text(-1), "1969-12-31T23:59:59.999Z");
    EXPECT_EQ(coins_json(NanoCoins(-1)), (Json{{"coins", "-0.000000001"}, {"nano", "-1"}}));
    EXPECT_EQ(coins_json(kMaxAmount)["coins"], "4000000");
    EXPECT_EQ(parse_id("12"), 12);
    for (const char* wrong : {"", "0", "-1", "012", "1x", "99999999999999999999"})
        EXPECT_FALSE(parse_id(wrong)) << wrong;
}

}  // namespace
}  // namespace lumen::admind

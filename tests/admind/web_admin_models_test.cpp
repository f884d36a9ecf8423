// Models, prices and endpoints over REST, and what of them reaches the gates.
#include <gtest/gtest.h>

#include <memory>

#include "admind/rest/http_server.h"
#include "lumen_core/catalogue.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class ModelsOverRest : public ::testing::Test {
 protected:
    static void SetUpTestSuite() {
        shared_ = std::make_unique<PrivateAdmind>(
            "defaults: {models: {access: allowed}}\nmodels:\n  - {name: stated, input_cost_per_million: 1,"
            " endpoints: [{id: one, url: 'http://127.0.0.1:9/v1', api_key: stated-secret},"
            " {id: two, url: 'http://127.0.0.1:9/v1', state: draining}]}\n");
    }
    static void TearDownTestSuite() { shared_.reset(); }

    HttpReply call(const std::string& method, const std::string& path, const Json& body = nullptr) {
        return admind.as_operator(method, "/api/v1/admin/models" + path, body);
    }
    std::string new_model(Json wishes = Json::object()) {
        static int number = 0;
        wishes["name"] = "made/" + std::to_string(++number);
        const HttpReply made = call("POST", "", wishes);
        EXPECT_EQ(made.status, 201) << made.text;
        return made.body["id"].get<std::string>();
    }
    std::shared_ptr<const Catalogue> published() {
        RedisLink redis(admind.redis_server.url(), std::chrono::seconds(5));
        const RedisReply reply = redis.command({"GET", kCatalogueKey});
        CatalogueResult result = parse_catalogue(reply_text(reply.get()), PrivateAdmind::kSecret);
        EXPECT_EQ(result.error, "");
        return result.catalogue ? result.catalogue : std::make_shared<const Catalogue>();
    }
    std::string name_of(const std::string& id) { return call("GET", "/" + id).body["name"].get<std::string>(); }
    std::string stated() { return admind.row("select id from models where name = 'stated'")[0]; }

    PrivateAdmind& admind = *shared_;

 private:
    static std::unique_ptr<PrivateAdmind> shared_;
};
std::unique_ptr<PrivateAdmind> ModelsOverRest::shared_;

TEST_F(ModelsOverRest, are_made_changed_and_removed_and_the_gates_follow) {
    const std::string id = new_model({{"input_cost_per_million", "0.15"},
                                      {"context_window", 4096},
                                      {"description", "d"},
                                      {"endpoints", Json::array({{{"id", "gpu"},
                                                                  {"url", "http://127.0.0.1:9/v1"},
                                                                  {"api_key", "${HOME}${file:/etc/hostname}"}}})}});
    const std::string name = name_of(id);
    ASSERT_NE(published()->find(name), nullptr);
    EXPECT_EQ(published()->find(name)->endpoints[0].credential, "${HOME}${file:/etc/hostname}")
        << "over REST a reference is text: nobody reads this host's files through it";
    const HttpReply shown = call("GET", "/" + id);
    EXPECT_EQ(shown.body["managed_by"], "admin");
    EXPECT_EQ(shown.body["endpoints"][0]["api_key"], "********");
    EXPECT_EQ(shown.body["prices"]["input_per_million"]["coins"], "0.15");
    EXPECT_EQ(call("POST", "", {{"name", name}}).code(), "name_taken");

    const HttpReply changed = call("PUT", "/" + id, {{"context_window", 8192}, {"needs_ack", true}});
    ASSERT_EQ(changed.status, 200) << changed.text;
    EXPECT_EQ(changed.body["endpoints"].size(), 1u) << "not named, not changed";
    EXPECT_EQ(changed.body["prices"]["input_per_million"]["coins"], "0.15");
    EXPECT_EQ(published()->find(name)->context_window, 8192u);
    EXPECT_EQ(call("PUT", "/" + id, {{"name", "other"}}).status, 422);

    EXPECT_EQ(call("DELETE", "/" + id).status, 204);
    EXPECT_EQ(published()->find(name), nullptr);
    EXPECT_EQ(call("GET", "/" + id).status, 404);
    EXPECT_EQ(call("POST", "", {{"name", name}}).status, 201) << "the name is free again, with its history";
}

TEST_F(ModelsOverRest, outlive_a_reload_of_the_file) {
    const std::string id = new_model();
    const std::string generation = admind.row("select generation from config_generation")[0];
    admind.write_settings(
        "defaults: {models: {access: allowed}, tokens: {max: 1}}\nmodels:\n  - {name: stated, input_cost_per_million: "
        "1,"
        " endpoints: [{id: one, url: 'http://127.0.0.1:9/v1', api_key: stated-secret},"
        " {id: two, url: 'http://127.0.0.1:9/v1', state: draining}]}\n");
    wait_until("the file is applied",
               [&] { return admind.row("select generation from config_generation")[0] != generation; });
    EXPECT_EQ(call("GET", "/" + id).status, 200);
}

TEST_F(ModelsOverRest, of_the_file_are_the_files) {
    EXPECT_EQ(call("PUT", "/" + stated(), {{"disabled", true}}).code(), "managed_by_config");
    EXPECT_EQ(call("DELETE", "/" + stated()).code(), "managed_by_config");
    EXPECT_EQ(call("POST", "/" + stated() + "/prices", {{"input_cost_per_million", 2}}).code(), "managed_by_config");
    EXPECT_EQ(call("POST", "/" + stated() + "/endpoints", {{"url", "http://h/v1"}}).code(), "managed_by_config");
    EXPECT_EQ(call("DELETE", "/" + stated() + "/endpoints/one").code(), "managed_by_config");
}

TEST_F(ModelsOverRest, ask_everybody_again_when_an_administrator_says_so_P59) {
    const std::string id = new_model({{"needs_ack", true}, {"ack_message", "Careful."}});
    const std::string name = name_of(id);
    const auto person = admind.new_person("5");
    const auto consent = [&](int version) {
        return person.call("POST", "/api/v1/me/consents", {{"model", name}, {"notice_version", version}}).status;
    };
    const auto access = [&] {
        return admind.as_operator("GET", "/api/v1/admin/access?account=" + person.account + "&model=" + name)
            .body["access"];
    };
    EXPECT_EQ(consent(1), 201);
    EXPECT_EQ(call("PUT", "/" + id, {{"needs_ack", true}, {"ack_message", "Be more careful."}}).status, 200);
    EXPECT_EQ(access(), "consented") << "a new text alone asks nobody";

    const HttpReply asked = call("POST", "/" + id + "/ask-again");
    EXPECT_EQ(asked.status, 200) << asked.text;
    EXPECT_EQ(asked.body["notice_version"], 3);
    EXPECT_EQ(access(), "need_consent");
    const auto catalogue = published();
    const auto* model = catalogue->find(name);
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->consent_since, 3) << "the gates ask too";
    EXPECT_EQ(consent(2), 409) << "the notice of before";
    EXPECT_EQ(consent(3), 201);
    EXPECT_EQ(access(), "consented");

    EXPECT_EQ(call("POST", "/" + new_model() + "/ask-again").code(), "consent_not_needed");
    EXPECT_EQ(call("POST", "/999999999/ask-again").status, 404);
}

TEST_F(ModelsOverRest, are_read_by_the_rules_of_the_file) {
    const HttpReply reply = call("POST", "",
                                 {{"name", "a b"},
                                  {"access", "maybe"},
                                  {"input_cost_per_million", "-1"},
                                  {"size", 1},
                                  {"endpoints", Json::array({{{"url", "gpu1:8000"}, {"weight", 101}}})}});
    EXPECT_EQ(reply.status, 422);
    for (const char* wanted : {"1 to 128 characters, no spaces", "must be allowed or blocked", "must be 0 or more",
                               "unknown key", "must be http or https (got \\\"gpu1:8000\\\")", "must be 1 to 100"}) {
        EXPECT_NE(reply.text.find(wanted), std::string::npos) << wanted << "\n" << reply.text;
    }
}

TEST_F(ModelsOverRest, prices_are_planned_changed_and_kept) {
    const std::string id = new_model({{"input_cost_per_million", 1}, {"output_cost_per_million", 2}});
    const HttpReply planned =
        call("POST", "/" + id + "/prices", {{"from", "2199-01-01T00:00:00Z"}, {"output_cost_per_million", "4"}});
    ASSERT_EQ(planned.status, 201) << planned.text;
    EXPECT_EQ(planned.body["state"], "planned");
    EXPECT_EQ(planned.body["input_cost_per_million"], "1") << "what is not named stays";
    EXPECT_EQ(published()->find(name_of(id))->prices.size(), 2u);
    EXPECT_EQ(call("POST", "/" + id + "/prices", {{"from", "2199-01-01T00:00:00Z"}}).status, 422) << "there is one";
    EXPECT_EQ(call("POST", "/" + id + "/prices", {{"from", "2020-01-01T00:00:00Z"}}).status, 422);

    const HttpReply now = call("POST", "/" + id + "/prices", {{"input_cost_per_million", "3"}});
    ASSERT_EQ(now.status, 201) << now.text;
    EXPECT_EQ(now.body["state"], "in_force");
    EXPECT_EQ(now.body["input_cost_per_million"], "3");
    const Json prices = call("GET", "/" + id + "/prices").body["data"];
    ASSERT_EQ(prices.size(), 3u) << prices.dump(1);
    EXPECT_EQ(prices[0]["state"], "past");
    EXPECT_EQ(prices[0]["input_cost_per_million"], "1") << "the old price stays in the book";
    EXPECT_EQ(prices[1]["state"], "in_force");
    EXPECT_EQ(prices[2]["output_cost_per_million"], "4");
    EXPECT_EQ(call("DELETE", "/" + id + "/prices/" + prices[1]["id"].get<std::string>()).code(), "price_in_force");
    EXPECT_EQ(call("DELETE", "/" + id + "/prices/" + prices[2]["id"].get<std::string>()).status, 204);
    EXPECT_EQ(published()->find(name_of(id))->prices.size(), 1u);
}

TEST_F(ModelsOverRest, endpoints_are_added_changed_and_keep_their_credential) {
    const std::string id = new_model();
    const HttpReply made =
        call("POST", "/" + id + "/endpoints", {{"id", "gpu"}, {"url", "http://127.0.0.1:9/v1"}, {"api_key", "hush"}});
    ASSERT_EQ(made.status, 201) << made.text;
    EXPECT_EQ(made.body["api_key"], "********");
    EXPECT_EQ(call("POST", "/" + id + "/endpoints", {{"id", "gpu"}, {"url", "http://h/v1"}}).code(), "name_taken");
    EXPECT_EQ(
        call("PUT", "/" + id + "/endpoints/gpu",
             {{"url", "http://127.0.0.1:8/v1"}, {"api_key", "********"}, {"weight", 5}, {"continuous_usage", true}})
            .status,
        200);
    const auto endpoint = [&] { return published()->find(name_of(id))->endpoints.at(0); };
    EXPECT_EQ(endpoint().credential, "hush");
    EXPECT_EQ(endpoint().weight, 5u);
    EXPECT_TRUE(endpoint().continuous_usage);
    EXPECT_EQ(call("PUT", "/" + id + "/endpoints/gpu", {{"url", "http://127.0.0.1:8/v1"}, {"api_key", ""}}).status,
              200);
    EXPECT_EQ(endpoint().credential, "");
    EXPECT_FALSE(endpoint().continuous_usage);
    EXPECT_EQ(call("PUT", "/" + id + "/endpoints/none", {{"url", "http://h/v1"}}).status, 404);
    EXPECT_EQ(call("DELETE", "/" + id + "/endpoints/gpu").status, 204);
    EXPECT_TRUE(published()->find(name_of(id))->endpoints.empty());
    EXPECT_EQ(
        admind.row("select count(*) from audit_log where after::text like '%hush%' or before::text like '%hush%'")[0],
        "0");
}

TEST_F(ModelsOverRest, draining_is_an_operators_word_and_the_gates_hear_it) {
    const auto draining = [&](const char* endpoint) {
        const auto catalogue = published();
        for (const auto& one : catalogue->find("stated")->endpoints) {
            if (one.name == endpoint) return one.draining;
        }
        return false;
    };
    const HttpReply drained = call("POST", "/" + stated() + "/endpoints/one/drain");
    ASSERT_EQ(drained.status, 200) << drained.text;
    EXPECT_EQ(drained.body, (Json{{"state", "draining"}, {"in_flight", 0}}));
    EXPECT_TRUE(draining("one"));
    EXPECT_EQ(call("POST", "/" + stated() + "/endpoints/one/activate").body["state"], "active");
    EXPECT_FALSE(draining("one"));
    EXPECT_EQ(call("POST", "/" + stated() + "/endpoints/two/activate").code(), "managed_by_config");
    EXPECT_EQ(call("POST", "/" + stated() + "/endpoints/three/drain").status, 404);
}

TEST_F(ModelsOverRest, a_server_is_probed_and_asked_what_it_serves) {
    HttpServer server("127.0.0.1", 0, [](const HttpRequest& request) {
        HttpAnswer answer;
        answer.content_type = "application/json";
        const bool models = request.path == "/v1/models" && request.header("authorization") == "Bearer hush";
        answer.status = models || request.path == "/health" ? 200 : 404;
        if (models) answer.body = R"({"data":[{"id":"up/stream","max_model_len":2048},{"id":"other"}]})";
        return answer;
    });
    const std::string url = "http://127.0.0.1:" + std::to_string(server.port()) + "/v1";
    const std::string id =
        new_model({{"context_window", 4096},
                   {"endpoints", Json::array({{{"id", "a"}, {"url", url}, {"model", "up/stream"}, {"api_key", "hush"}},
                                              {{"id", "b"}, {"url", "http://127.0.0.1:9/v1"}}})}});
    EXPECT_EQ(call("POST", "/" + id + "/endpoints/a/probe").body["healthy"], true);
    EXPECT_EQ(call("POST", "/" + id + "/endpoints/b/probe").body["healthy"], false);
    const HttpReply sync = call("POST", "/" + id + "/sync");
    ASSERT_EQ(sync.status, 200) << sync.text;
    EXPECT_EQ(sync.body["proposals"],
              (Json::array({{{"field", "context_window"}, {"now", 4096}, {"proposed", 2048}}})));
    EXPECT_EQ(sync.body["endpoints"][0]["serves"], true);
    EXPECT_EQ(sync.body["endpoints"][1]["serves"], false);
    EXPECT_TRUE(sync.body["endpoints"][1]["error"].is_string());
    EXPECT_EQ(call("GET", "/" + id).body["context_window"], 4096) << "nothing is saved";
}

}  // namespace
}  // namespace lumen::admind

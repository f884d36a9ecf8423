// lumen.yaml over REST and while running: masked, checked, saved whole, in force everywhere or nowhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include "admind/settings/config_document.h"
#include "admind/settings/settings.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

constexpr const char* kMore = R"(
defaults: {models: {access: allowed}, tokens: {max: 5}}
zebra: {kept: yes}
models:
  - {name: llama, input_cost_per_million: 0.15, endpoints: [{id: one, url: "http://127.0.0.1:9/v1", api_key: hush-hush},
     {url: "http://127.0.0.1:8/v1", api_key: hush-too}]}
)";

class Config : public ::testing::Test {
 protected:
    HttpReply call(const std::string& method, const std::string& path, const Json& body = nullptr) {
        return admind.as_operator(method, "/api/v1/admin/config" + path, body);
    }
    Json document() { return call("GET", "").body["config"]; }
    std::string file() {
        std::ifstream in(admind.directory.path() + "/lumen.yaml");
        std::ostringstream text;
        text << in.rdbuf();
        return text.str();
    }
    std::string metric(const std::string& name) {
        const HttpReply reply = admind.call("GET", "/metrics", {{"Authorization", "Bearer metrics-token"}});
        const std::size_t at = reply.text.find("\n" + name + " ");
        return at == std::string::npos ? "" : reply.text.substr(at + name.size() + 2, 1);
    }
    PrivateAdmind admind{std::string(kMore) + "api: {prometheus: {enabled: true, token: metrics-token}}\n"};
};

TEST_F(Config, is_read_masked_and_saved_without_losing_a_secret_or_an_unknown_key) {
    const HttpReply read = call("GET", "");
    ASSERT_EQ(read.status, 200) << read.text;
    EXPECT_EQ(read.text.find("hush"), std::string::npos);
    EXPECT_EQ(read.text.find(PrivateAdmind::kSecret), std::string::npos);
    EXPECT_EQ(read.text.find("metrics-token"), std::string::npos);
    EXPECT_EQ(read.body["unknown_keys"], (Json{"zebra"}));
    Json config = read.body["config"];
    EXPECT_EQ(config["models"][0]["endpoints"][0]["api_key"], "********");
    EXPECT_EQ(config["models"][0]["input_cost_per_million"], "0.15") << "amounts travel as they are written";
    config["app"]["tagline"] = "changed";
    std::swap(config["models"][0]["endpoints"][0], config["models"][0]["endpoints"][1]);
    const HttpReply saved = call("PUT", "", {{"config", config}});
    ASSERT_EQ(saved.status, 200) << saved.text;
    const SettingsResult now = load_settings(admind.directory.path() + "/lumen.yaml", {});
    ASSERT_TRUE(now.settings.has_value());
    EXPECT_EQ(now.settings->app.tagline, "changed");
    EXPECT_EQ(now.settings->app.encryption_key, PrivateAdmind::kSecret);
    EXPECT_EQ(now.settings->models[0].endpoints[0].api_key, "hush-too")
        << "secrets follow their endpoint, not its place";
    EXPECT_EQ(now.settings->models[0].endpoints[1].api_key, "hush-hush");
    EXPECT_NE(file().find("zebra"), std::string::npos);
    std::ifstream backup(admind.directory.path() + "/lumen.yaml.bak");
    EXPECT_TRUE(backup.good());
    wait_until("it is in force", [&] { return admind.call("GET", "/api/v1/site", {}).body["tagline"] == "changed"; });
    const Json audit = admind.as_operator("GET", "/api/v1/admin/audit?target=config").body["data"][0];
    EXPECT_NE(audit.dump().find("app.tagline"), std::string::npos) << audit.dump();
    EXPECT_EQ(audit.dump().find("hush"), std::string::npos);
}

TEST_F(Config, a_mask_without_a_secret_behind_it_is_named) {
    Json config = document();
    config["models"][0]["endpoints"][0]["id"] = "renamed";
    config["models"][0]["endpoints"][0]["url"] = "http://evil.example/v1";
    const HttpReply reply = call("PUT", "", {{"config", config}});
    EXPECT_EQ(reply.status, 400);
    EXPECT_EQ(reply.code(), "secret_unrestorable");
    EXPECT_EQ(reply.body["errors"][0]["path"], "models[llama].endpoints[0].api_key") << reply.text;
}

TEST_F(Config, errors_are_named_and_nothing_is_written) {
    const std::string before = file();
    Json config = document();
    config["models"][0]["access"] = "maybe";
    config["rate_limiting"]["limit"] = "often";
    const HttpReply reply = call("PUT", "", {{"config", config}});
    EXPECT_EQ(reply.status, 422);
    EXPECT_EQ(reply.body["errors"].size(), 2u) << reply.text;
    EXPECT_EQ(file(), before);
    const HttpReply findings = call("POST", "/validate", {{"config", config}});
    EXPECT_EQ(findings.body["valid"], false);
    EXPECT_NE(findings.text.find("models[llama].access"), std::string::npos) << findings.text;
    EXPECT_NE(findings.text.find("not a rate"), std::string::npos);
}

TEST_F(Config, validate_says_what_changes_and_what_needs_a_restart) {
    Json config = document();
    config["app"]["listen"] = "127.0.0.1:2";
    config["app"]["name"] = "Other";
    const HttpReply reply = call("POST", "/validate", {{"config", config}});
    ASSERT_EQ(reply.status, 200) << reply.text;
    EXPECT_EQ(reply.body["restart"], (Json{"app.listen"}));
    EXPECT_EQ(reply.body["diff"].size(), 2u) << reply.text;
    EXPECT_EQ(reply.body["diff"][0]["after"], "127.0.0.1:2");
}

TEST_F(Config, somebody_elses_edit_is_noticed) {
    const HttpReply read = call("GET", "");
    admind.write_settings(std::string(kMore) + "admins: [other@example.edu]\n");
    Headers headers = admind.operator_headers();
    headers.emplace_back("If-Match", read.header("etag"));
    headers.emplace_back("Content-Type", "application/json");
    EXPECT_EQ(admind.call("PUT", "/api/v1/admin/config", headers, Json{{"config", read.body["config"]}}.dump()).status,
              412);
}

TEST_F(Config, is_read_only_where_it_says_so) {
    Json config = document();
    config["app"]["config_editor"] = false;
    ASSERT_EQ(call("PUT", "", {{"config", config}}).status, 200);
    wait_until("the editor is off", [&] { return call("GET", "").body["writable"] == false; });
    EXPECT_EQ(call("GET", "").body["read_only_reason"], "app.config_editor is false");
    EXPECT_EQ(call("PUT", "", {{"config", document()}}).code(), "config_read_only");
}

TEST_F(Config, nobody_removes_himself) {
    admind.call("POST", "/api/v1/devlogin", {{"Sec-Fetch-Site", "same-origin"}});
    const auto row = admind.row("select id, account_id from users where email = 'dev@example.edu'");
    const auto dev = admind.browser_of(std::stoll(row[0]), row[1]);
    Json config = document();
    config["admins"] = {"somebody@example.edu"};
    const Headers headers{{"Cookie", "lumen_session=" + dev.cookie},
                          {"Sec-Fetch-Site", "same-origin"},
                          {"If-Match", "*"},
                          {"Content-Type", "application/json"}};
    const HttpReply reply = admind.call("PUT", "/api/v1/admin/config", headers, Json{{"config", config}}.dump());
    EXPECT_EQ(reply.status, 422) << reply.text;
    EXPECT_EQ(reply.body["errors"][0]["code"], "removes_yourself");
}

TEST_F(Config, a_bad_file_changes_nothing_and_everybody_is_told) {
    wait_until("the first file is in force", [&] { return call("GET", "/status").body["in_force"] == true; });
    const Json good = call("GET", "/status").body;
    EXPECT_EQ(good["valid"], true);
    EXPECT_EQ(metric("lumen_config_valid"), "1");
    admind.write_settings(
        "models: [{name: only, access: maybe}]\napi: {prometheus: {enabled: true, token: metrics-token}}\n");
    wait_until("the bad file was seen", [&] { return call("GET", "/status").body["valid"] == false; });
    const Json bad = call("GET", "/status").body;
    EXPECT_EQ(bad["generation"], good["generation"]);
    EXPECT_EQ(bad["in_force"], false);
    EXPECT_EQ(bad["findings"][0]["path"], "models[only].access") << bad.dump();
    EXPECT_EQ(metric("lumen_config_valid"), "0");
    EXPECT_EQ(admind.row("select count(*) from models where name = 'llama' and not removed")[0], "1");
    admind.write_settings(std::string(kMore) + "api: {prometheus: {enabled: true, token: metrics-token}}\n");
    wait_until("a good one is in force again", [&] { return call("GET", "/status").body["in_force"] == true; });
}

TEST_F(Config, keys_that_need_a_restart_are_pending) {
    std::string text = file();
    text.replace(text.find("pool") == std::string::npos ? text.find("database: {") + 11 : text.find("pool"), 0,
                 "pool_size: 3, ");
    std::ofstream(admind.directory.path() + "/lumen.yaml.edit") << text;
    std::rename((admind.directory.path() + "/lumen.yaml.edit").c_str(),
                (admind.directory.path() + "/lumen.yaml").c_str());
    wait_until("it is pending", [&] {
        const Json pending = call("GET", "/status").body["pending"];
        return std::find(pending.begin(), pending.end(), Json("app.database.pool_size")) != pending.end();
    });
}

TEST_F(Config, reloads_lose_no_request) {
    std::atomic<bool> done{false};
    std::atomic<int> bad{0};
    std::atomic<int> good{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            while (!done) (admind.call("GET", "/api/v1/site", {}).status == 200 ? good : bad)++;
        });
    }
    for (int i = 0; i < 5; ++i) {
        const std::string tagline = "round " + std::to_string(i);
        Json config = document();
        config["app"]["tagline"] = tagline;
        EXPECT_EQ(call("PUT", "", {{"config", config}}).status, 200);
        admind.daemon->reload();
        EXPECT_EQ(admind.call("GET", "/api/v1/site", {}).body["tagline"], tagline);
    }
    done = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(bad, 0);
    EXPECT_GT(good, 0);
}

// ---- documents

TEST(ConfigDocument, reads_back_to_the_same) {
    const std::string yaml =
        "a: &base {x: 0.10, y: yes, t: true, z: \"yes\", n: 12, big: 12345678901234567890}\nb: {<<: *base, x: 2}\nc: "
        "[1, '1', "
        "~, on]\n"
        "d: \"line\\nline \\u00e9 # no comment\"\ne: '${NAME}'\n";
    const Json document = config_document(yaml);
    EXPECT_EQ(document["a"]["x"], "0.10");
    EXPECT_EQ(document["a"]["y"], "yes");
    EXPECT_EQ(document["a"]["t"], true);
    EXPECT_EQ(document["a"]["z"], "yes");
    EXPECT_EQ(document["b"]["x"], 2);
    EXPECT_EQ(document["b"]["n"], 12);
    EXPECT_EQ(document["c"], (Json::array({1, "1", nullptr, "on"})));
    EXPECT_EQ(config_document(config_yaml(document)), document) << config_yaml(document);
}

TEST(ConfigDocument, masks_what_is_secret_and_nothing_that_only_names_where_it_is) {
    const Json document = config_document(
        "app: {secret_key: a, encryption_key: '${file:/x}', database: {url: 'postgresql://u:p@h/d'}}\nredis: {url: r}\n"
        "oauth2: {client_id: me, client_secret: s}\napi: {monitoring: {token: t}}\nmodels: [{name: m, url: u, "
        "endpoints: [{url: v, api_key: k}]}]\n");
    const Json masked = masked_config(document);
    EXPECT_EQ(masked["app"]["secret_key"], "********");
    EXPECT_EQ(masked["app"]["encryption_key"], "${file:/x}");
    EXPECT_EQ(masked["app"]["database"]["url"], "********");
    EXPECT_EQ(masked["redis"]["url"], "********");
    EXPECT_EQ(masked["oauth2"]["client_id"], "me");
    EXPECT_EQ(masked["api"]["monitoring"]["token"], "********");
    EXPECT_EQ(masked["models"][0]["url"], "u");
    EXPECT_EQ(masked["models"][0]["endpoints"][0]["api_key"], "********");
    Json back = masked;
    EXPECT_TRUE(restore_secrets(back, document).empty());
    EXPECT_EQ(back, document);
}

}  // namespace
}  // namespace lumen::admind

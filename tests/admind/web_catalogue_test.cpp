// What the gate reads must be what the book says: the catalogue, its versions, its policies, and the settings behind
// it.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "admind/catalogue/endpoint_prober.h"
#include "admind/catalogue/endpoint_states.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/catalogue.h"
#include "tests/admind/private_admind.h"
#include "tests/admind/private_ledger.h"
#include "tests/harness/server_process.h"

namespace lumen::admind {
namespace {

constexpr const char* kModels = R"(
rate_limiting: {limit: 60 per minute}
defaults: {models: {access: allowed}, tokens: {max: 5}}
models:
  - {name: org/plain, input_cost_per_million: 0.15, output_cost_per_million: 0.600000001, context_window: 4096,
     prices: [{from: '2199-01-01T00:00:00Z', output_cost_per_million: 2}],
     endpoints: [{id: one, url: "http://127.0.0.1:9/v1", api_key: the-upstream-secret, weight: 3},
                 {id: two, url: "https://localhost", model: other, state: draining}]}
  - {name: asks, needs_ack: true, input_cost_per_million: 1}
)";

std::shared_ptr<const Catalogue> published(const PrivateAdmind& admind) {
    RedisLink redis(admind.redis_server.url(), std::chrono::seconds(5));
    const RedisReply reply = redis.command({"GET", kCatalogueKey});
    if (reply->type == REDIS_REPLY_NIL) return nullptr;
    CatalogueResult result = parse_catalogue(reply_text(reply.get()), PrivateAdmind::kSecret);
    EXPECT_EQ(result.error, "");
    return result.catalogue;
}

/// Tests that leave the models as they are share one admind.
class Publishing : public ::testing::Test {
 protected:
    static void SetUpTestSuite() { shared_ = std::make_unique<PrivateAdmind>(kModels); }
    static void TearDownTestSuite() { shared_.reset(); }
    PrivateAdmind& admind = *shared_;

 private:
    static std::unique_ptr<PrivateAdmind> shared_;
};
std::unique_ptr<PrivateAdmind> Publishing::shared_;

/// Tests that change them have one of their own.
class Reloading : public ::testing::Test {
 protected:
    PrivateAdmind admind{kModels};
};

TEST_F(Publishing, the_gate_reads_what_admind_writes) {
    wait_until("the models are published", [&] { return published(admind) && published(admind)->models.size() == 2; });
    const auto catalogue = published(admind);
    EXPECT_EQ(catalogue->public_url, PrivateAdmind::kPublicUrl);
    EXPECT_TRUE(catalogue->api_consent);
    const CatalogueModel* model = catalogue->find("org/plain");
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->context_window, 4096u);
    ASSERT_EQ(model->prices.size(), 2u);
    EXPECT_EQ(model->prices[0].from_ms, 0);
    EXPECT_EQ(model->prices[0].price.output_per_million, NanoCoins(600'000'001));
    EXPECT_EQ(model->prices[1].price.output_per_million, NanoCoins(2'000'000'000));
    EXPECT_EQ(model->prices[1].price.input_per_million, NanoCoins(150'000'000)) << "a plan changes what it names";
    ASSERT_EQ(model->endpoints.size(), 2u);
    EXPECT_EQ(model->endpoints[0].name, "one");
    EXPECT_EQ(model->endpoints[0].credential, "the-upstream-secret");
    EXPECT_EQ(model->endpoints[0].weight, 3u);
    ASSERT_EQ(model->endpoints[0].addresses.size(), 1u);
    EXPECT_EQ(model->endpoints[0].addresses[0].text, "127.0.0.1:9");
    EXPECT_EQ(model->endpoints[0].path_prefix, "/v1");
    EXPECT_TRUE(model->endpoints[1].https);
    EXPECT_TRUE(model->endpoints[1].draining);
    EXPECT_EQ(model->endpoints[1].upstream_model, "other");
    for (const EndpointAddress& address : model->endpoints[1].addresses) EXPECT_EQ(address.port, 443);
    EXPECT_TRUE(catalogue->find("asks")->needs_ack);
    const Json listing = parse_json(model->listing).value_or(Json());
    EXPECT_EQ(listing["pricing"]["output"], "0.600000001");
    EXPECT_EQ(listing["object"], "model");
}

std::set<std::string> members(const Json& object) {
    std::set<std::string> names;
    for (const auto& [name, value] : object.items()) names.insert(name);
    return names;
}

TEST_F(Publishing, the_document_has_the_form_of_the_golden_file) {
    admind.new_person("");  // policies are made for accounts
    RedisLink redis(admind.redis_server.url(), std::chrono::seconds(5));
    const Json ours = parse_json(reply_text(redis.command({"GET", kCatalogueKey}).get())).value_or(Json());
    std::ifstream file(LUMEN_SOURCE_DIR "/tests/data/catalogue.json");
    const Json golden = Json::parse(file);
    EXPECT_EQ(members(ours), members(golden));
    EXPECT_EQ(ours["format"], golden["format"]);
    EXPECT_EQ(members(ours["settings"]), members(golden["settings"]));
    for (const char* list : {"models", "prices", "endpoints", "policies"}) {
        ASSERT_FALSE(ours[list].empty()) << list;
        EXPECT_EQ(members(ours[list][0]), members(golden[list][0])) << list;
    }
}

TEST_F(Publishing, credentials_are_plain_in_no_store) {
    RedisLink redis(admind.redis_server.url(), std::chrono::seconds(5));
    EXPECT_EQ(reply_text(redis.command({"GET", kCatalogueKey}).get()).find("the-upstream-secret"), std::string::npos);
    EXPECT_EQ(admind.row("select count(*) from endpoints e where e::text like '%the-upstream-secret%'")[0], "0");
    EXPECT_EQ(admind.as_operator("GET", "/api/v1/admin/models").text.find("the-upstream-secret"), std::string::npos);
}

TEST_F(Publishing, an_account_names_a_policy_that_is_published) {
    const auto person = admind.new_person("");
    RedisLink redis(admind.redis_server.url(), std::chrono::seconds(5));
    const PolicyId policy = std::stoll(
        std::string(reply_text(redis.command({"HGET", account_key(std::stoll(person.account)), "pol"}).get())));
    const auto catalogue = published(admind);
    const CataloguePolicy* found = catalogue->policy(policy);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->verdict(catalogue->find("org/plain")->id), Verdict::allowed);
    EXPECT_EQ(found->verdict(catalogue->find("asks")->id), Verdict::needs_consent);
}

TEST_F(Publishing, accounts_with_equal_rights_share_a_policy) {
    const auto policy_of = [&](const PrivateAdmind::Browser& person) {
        return admind.row("select policy_id from accounts where id = " + person.account)[0];
    };
    const auto first = admind.new_person("1");
    const auto second = admind.new_person("-2");
    EXPECT_EQ(policy_of(first), policy_of(second)) << "coins are no rights";
    admind.as_operator("PUT", "/api/v1/admin/accounts/" + second.account + "/limits",
                       {{"max", "1"}, {"mode", "strict"}});
    EXPECT_NE(policy_of(first), policy_of(second)) << "the mode is part of a policy";
}

TEST_F(Publishing, a_lost_catalogue_comes_back_with_a_higher_version) {
    const std::int64_t version = published(admind)->version;
    RedisLink redis(admind.redis_server.url(), std::chrono::seconds(5));
    redis.command({"DEL", kCatalogueKey});
    wait_until("the catalogue is published again", [&] {
        return !reply_text(redis.command({"GET", kCatalogueKey}).get()).empty();
    });
    EXPECT_GT(published(admind)->version, version);
}

TEST_F(Publishing, equal_content_keeps_its_version) {
    const auto version = published(admind)->version;
    LiveSettings settings(load_settings(admind.directory.path() + "/lumen.yaml", {}).settings.value());
    PgPool postgres(admind.database, 2, std::chrono::seconds(5));
    RedisPool redis(admind.redis_server.url(), 2, std::chrono::seconds(5));
    CataloguePublisher publisher(settings, postgres, redis);
    EXPECT_FALSE(publisher.publish());
    EXPECT_EQ(published(admind)->version, version);
}

TEST_F(Reloading, a_book_that_counts_from_an_older_number_still_goes_up) {
    admind.execute("select setval('catalogue_version', 1)");
    const std::int64_t version = published(admind)->version;
    admind.execute("update models set context_window = 8192 where name = 'org/plain'");
    wait_until("the change is published", [&] { return published(admind)->find("org/plain")->context_window == 8192; });
    EXPECT_GT(published(admind)->version, version);
}

// ---- reload

TEST_F(Reloading, a_changed_file_is_in_force_and_ids_stay) {
    const auto person = admind.new_person("");
    const auto before = published(admind);
    const ModelId plain = before->find("org/plain")->id;
    const PriceId price = before->find("org/plain")->prices[0].id;
    admind.write_settings(R"(
rate_limiting: {limit: 600 per minute}
defaults: {models: {access: blocked}, tokens: {max: 5}}
models:
  - {name: org/plain, input_cost_per_million: 0.3, endpoints: [{id: one, url: "http://127.0.0.1:9/v1"}]}
  - {name: fresh, input_cost_per_million: 1}
)");
    wait_until("the change is published", [&] { return published(admind)->find("fresh") != nullptr; });
    const auto after = published(admind);
    EXPECT_EQ(after->find("asks"), nullptr) << "a model that left the file is in no catalogue";
    EXPECT_EQ(admind.row("select removed, disabled from models where name = 'asks'"),
              (std::vector<std::string>{"t", "t"}));
    EXPECT_EQ(after->find("org/plain")->id, plain);
    ASSERT_EQ(after->find("org/plain")->prices.size(), 1u);
    EXPECT_NE(after->find("org/plain")->prices[0].id, price) << "another price is another point";
    EXPECT_EQ(after->find("org/plain")->prices[0].price.input_per_million, NanoCoins(300'000'000));
    EXPECT_EQ(admind.row("select count(*) from prices where model_id = " + std::to_string(plain) +
                         " and meter = 'input_per_million'")[0],
              "2")
        << "the old price stays in the book";
    ASSERT_EQ(after->find("org/plain")->endpoints.size(), 1u);
    EXPECT_EQ(after->find("org/plain")->endpoints[0].credential, "");
    wait_until("the account has the new rights", [&] {
        const auto policy = admind.row("select policy_id from accounts where id = " + person.account)[0];
        const CataloguePolicy* found = published(admind)->policy(std::stoll(policy));
        return found != nullptr && found->verdict(plain) == Verdict::blocked;
    });
    const HttpReply key =
        admind.as_operator("POST", "/api/v1/admin/accounts/" + person.account + "/keys", {{"name", "k"}});
    EXPECT_EQ(admind.row("select request_rates from api_keys where id = " + key.body["id"].get<std::string>())[0],
              "600/60");
}

TEST_F(Reloading, a_file_with_errors_changes_nothing) {
    const std::int64_t version = published(admind)->version;
    admind.write_settings("models: [{name: only, access: maybe}]\n");
    admind.daemon->reload();
    EXPECT_EQ(published(admind)->version, version);
    EXPECT_NE(published(admind)->find("org/plain"), nullptr);
}

TEST_F(Reloading, keys_follow_the_sites_rates_with_their_periods) {
    const auto person = admind.new_person("");
    const HttpReply key =
        admind.as_operator("POST", "/api/v1/admin/accounts/" + person.account + "/keys", {{"name", "k"}});
    const auto id = key.body["id"].get<std::string>();
    EXPECT_EQ(admind.row("select request_rates from api_keys where id = " + id)[0], "60/60");
    std::string other = kModels;
    other.replace(other.find("{limit: 60 per minute}"), 22,
                  "{limit: '30 per hour; 1000 per day', tokens: 5 per 2 minutes}");
    admind.write_settings(other);
    RedisLink redis(admind.redis_server.url(), std::chrono::seconds(5));
    const std::string in_redis = api_key_key(std::stoll(person.account), std::stoll(id));
    wait_until("the gate is told", [&] {
        const auto packed = unpack_limits(reply_text(redis.command({"HGET", in_redis, "limits"}).get()));
        return packed && rates_text(packed->limits.requests) == "30/3600 1000/86400" &&
               rates_text(packed->limits.tokens) == "5/120";
    });
}

// ---- prober

TEST(Prober, asks_beside_the_api_and_never_below_it) {
    EXPECT_EQ(health_url("http://gpu1:8000/v1"), "http://gpu1:8000/health");
    EXPECT_EQ(health_url("http://gpu1:8000/a/v1"), "http://gpu1:8000/a/health");
    EXPECT_EQ(health_url("http://gpu1:8000"), "http://gpu1:8000/health");
}

/// A model server of few words: one status for each path.
class SmallServer {
 public:
    explicit SmallServer(std::map<std::string, int> statuses)
        : server_("127.0.0.1", 0, [this, statuses = std::move(statuses)](const HttpRequest& request) {
              const auto found = statuses.find(request.path);
              {
                  const std::lock_guard lock(mutex_);
                  asked_.push_back(request.method + " " + request.path + " " +
                                   std::string(request.header("authorization")));
              }
              HttpAnswer answer;
              answer.status = found == statuses.end() ? 404 : found->second;
              answer.content_type = "text/plain";
              answer.body = "x";
              return answer;
          }) {}
    std::string url() const { return "http://127.0.0.1:" + std::to_string(server_.port()) + "/v1"; }
    std::vector<std::string> asked() {
        const std::lock_guard lock(mutex_);
        return asked_;
    }

 private:
    std::mutex mutex_;
    std::vector<std::string> asked_;
    HttpServer server_;
};

TEST(Prober, tells_the_living_from_the_dead) {
    SmallServer healthy({{"/health", 200}});
    SmallServer ill({{"/health", 503}, {"/v1/models", 200}});
    SmallServer without_health({{"/v1/models", 200}});
    SmallServer with_nothing({});
    const std::string nobody = "http://127.0.0.1:" + std::to_string(harness::free_port()) + "/v1";
    const auto results = probe_endpoints({{1, healthy.url(), ""},
                                          {2, ill.url(), ""},
                                          {3, without_health.url(), "secret"},
                                          {4, with_nothing.url(), ""},
                                          {5, nobody, ""}},
                                         std::chrono::seconds(5));
    EXPECT_EQ(results, (std::map<EndpointId, bool>{{1, true}, {2, false}, {3, true}, {4, false}, {5, false}}));
    EXPECT_EQ(without_health.asked(),
              (std::vector<std::string>{"GET /health Bearer secret", "GET /v1/models Bearer secret"}));
    EXPECT_EQ(ill.asked().size(), 1u) << "a server that says it is ill is believed";
}

TEST(Prober, its_word_reaches_the_gates_and_the_pages) {
    SmallServer healthy({{"/health", 200}});
    const std::string nobody = "http://127.0.0.1:" + std::to_string(harness::free_port()) + "/v1";
    const PrivateAdmind admind("models:\n  - {name: both, input_cost_per_million: 1, endpoints: [{id: up, url: '" +
                               healthy.url() + "'}, {id: down, url: '" + nobody + "'}]}\n");
    wait_until("the model is degraded", [&] {
        const HttpReply reply = admind.as_operator("GET", "/api/v1/admin/models");
        return !reply.body["data"].empty() && reply.body["data"][0]["status"] == "degraded";
    });
    RedisLink redis(admind.redis_server.url(), std::chrono::seconds(5));
    const Json probes = parse_json(reply_text(redis.command({"GET", kProbesKey}).get())).value_or(Json());
    EXPECT_TRUE(probes["at_ms"].is_number_integer());
    EXPECT_FALSE(probes["endpoints"].empty());
    // A gate's word joins the prober's.
    redis.command(
        {"SET", std::string(kGateReportPrefix) + "g1",
         R"({"at_ms":1,"endpoints":[{"id":1,"state":"ejected","reason":"refused","until_ms":5,"in_flight":2}]})"});
    wait_until("the model is down",
               [&] { return admind.as_operator("GET", "/api/v1/admin/models").body["data"][0]["status"] == "down"; });
}

TEST(ModelStatus, is_the_worst_of_what_is_known) {
    const auto up = EndpointReport{EndpointLife::up, "ready", "", 0, 0};
    const auto down = EndpointReport{EndpointLife::down, "ejected", "", 0, 0};
    EXPECT_EQ(model_status(false, {1, 2}, {{1, up}, {2, up}}), ModelStatus::ok);
    EXPECT_EQ(model_status(false, {1, 2}, {{1, up}, {2, down}}), ModelStatus::degraded);
    EXPECT_EQ(model_status(false, {1, 2}, {{1, down}, {2, down}}), ModelStatus::down);
    EXPECT_EQ(model_status(false, {}, {}), ModelStatus::down) << "no backends";
    EXPECT_EQ(model_status(true, {1}, {{1, up}}), ModelStatus::disabled);
}

}  // namespace
}  // namespace lumen::admind

// lumen.yaml: every row of the tables of spec/config.md §3 and §5 that this version reads, by name.
#include <gtest/gtest.h>

#include <fstream>

#include "admind/settings/settings.h"
#include "admind/settings/settings_values.h"
#include "tests/harness/server_process.h"

namespace lumen::admind {
namespace {

const Environment kEnvironment{{"DATABASE_URL", "postgresql://lumen@/lumen"},
                               {"LUMEN_SECRET_KEY", "0123456789abcdef0123456789abcdef"},
                               {"LUMEN_ENCRYPTION_KEY", "fedcba9876543210fedcba9876543210"}};

constexpr const char* kApp = "app: {public_url: 'https://lumen.example.edu', debug: true, dev_user: ada@example.edu}\n";

std::string model(const std::string& members) {
    return std::string(kApp) + "models:\n  - {name: llama, input_cost_per_million: 1" +
           (members.empty() ? "" : ", " + members) + "}\n";
}

std::string endpoints(const std::string& list) {
    return model("endpoints: [" + list + "]");
}

struct Row {
    const char* name;
    std::string yaml;
    const char* path;
    const char* reason;
};
void PrintTo(const Row& row, std::ostream* out) {
    *out << row.name;
}

std::string all_of(const std::vector<Finding>& findings) {
    std::string text;
    for (const Finding& finding : findings) text += "\n  " + finding.path + ": " + finding.reason;
    return text;
}

bool has(const std::vector<Finding>& findings, Finding::Severity severity, const Row& row) {
    for (const Finding& finding : findings) {
        if (finding.severity == severity && finding.path == row.path && finding.reason == row.reason) return true;
    }
    return false;
}

class SettingsErrors : public ::testing::TestWithParam<Row> {};

TEST_P(SettingsErrors, refuse_the_file_and_say_where_and_why) {
    const SettingsResult result = read_settings(GetParam().yaml, kEnvironment);
    EXPECT_FALSE(result.settings.has_value());
    EXPECT_TRUE(has(result.findings, Finding::Severity::error, GetParam())) << all_of(result.findings);
}

INSTANTIATE_TEST_SUITE_P(
    spec_config_3, SettingsErrors,
    ::testing::Values(
        Row{"type", model("context_window: ten"), "models[llama].context_window", "expected integer, got \"ten\""},
        Row{"type_of_a_boolean", std::string(kApp) + "api: {consent: perhaps}\n", "api.consent",
            "expected true or false, got \"perhaps\""},
        Row{"type_of_a_section", std::string(kApp) + "health: [1]\n", "health", "expected a section, got a list"},
        Row{"type_of_a_list", std::string(kApp) + "admins: ada@example.edu\n", "admins",
            "expected a list, got \"ada@example.edu\""},
        Row{"type_of_an_amount", model("output_cost_per_million: 1e3"), "models[llama].output_cost_per_million",
            "expected decimal, got \"1e3\""},
        Row{"missing", std::string(kApp) + "models: [{input_cost_per_million: 1}]\n", "models[0].name", "is required"},
        Row{"missing_url_of_an_endpoint", endpoints("{weight: 2}"), "models[llama].endpoints[0].url", "is required"},
        Row{"missing_public_url", "app: {debug: true, dev_user: a@example.edu}\n", "app.public_url", "is required"},
        Row{"missing_client_id_without_dev_user", "app: {public_url: 'https://l.example.edu'}\n", "oauth2.client_id",
            "is required"},
        Row{"variable", endpoints("{url: 'http://h/v1', api_key: '${NO_SUCH}'}"), "models[llama].endpoints[0].api_key",
            "environment variable NO_SUCH is not set"},
        Row{"file", endpoints("{url: 'http://h/v1', api_key: '${file:/no/such}'}"),
            "models[llama].endpoints[0].api_key", "cannot read /no/such"},
        Row{"max", std::string(kApp) + "groups: {g: {max: -1}}\n", "groups.g.max", "must be -2, 0 or positive"},
        Row{"other_amount", std::string(kApp) + "groups: {g: {refresh: -2}}\n", "groups.g.refresh",
            "must be 0 or more"},
        Row{"decimal_places", std::string(kApp) + "defaults: {tokens: {max: 0.0000000001}}\n", "defaults.tokens.max",
            "at most 9 decimal places"},
        Row{"out_of_range", std::string(kApp) + "defaults: {tokens: {max: 4000000.000000001}}\n", "defaults.tokens.max",
            "out of range"},
        Row{"access", model("access: maybe"), "models[llama].access", "must be allowed or blocked"},
        Row{"rate", std::string(kApp) + "rate_limiting: {limit: often}\n", "rate_limiting.limit", "not a rate"},
        Row{"three_rates", std::string(kApp) + "rate_limiting: {limit: '1/second; 2/minute; 3/hour'}\n",
            "rate_limiting.limit", "not a rate"},
        Row{"time", model("prices: [{from: tomorrow, output_cost_per_million: 1}]"), "models[llama].prices[0].from",
            "not a UTC time"},
        Row{"time_that_no_calendar_has", model("prices: [{from: '2027-02-30T00:00:00Z'}]"),
            "models[llama].prices[0].from", "not a UTC time"},
        Row{"url", endpoints("{url: 'gpu1:8000'}"), "models[llama].endpoints[0].url",
            "must be http or https (got \"gpu1:8000\")"},
        Row{"url_with_a_password_is_not_shown", endpoints("{url: 'http://me:secret@h/v1'}"),
            "models[llama].endpoints[0].url", "must be http or https"},
        Row{"credential", endpoints("{url: 'http://h/v1', api_key: 'two words'}"), "models[llama].endpoints[0].api_key",
            "must have no spaces or control characters"},
        Row{"address", std::string(kApp) + "admins: [ada]\n", "admins[0]", "not an email address"},
        Row{"address_of_a_user", std::string(kApp) + "users: {ada: {max: 1}}\n", "users.ada", "not an email address"},
        Row{"version", std::string("version: 3\n") + kApp, "version", "unsupported version"},
        Row{"dev_user", "app: {public_url: 'https://l.example.edu', dev_user: a@example.edu}\n", "app.dev_user",
            "needs app.debug: true"},
        Row{"equal_endpoint_ids", endpoints("{id: a, url: 'http://h/v1'}, {id: a, url: 'http://i/v1'}"),
            "models[llama].endpoints[1].id", "duplicate of endpoints[0].id"},
        Row{"equal_price_dates", model("prices: [{from: '2027-01-01T00:00:00Z'}, {from: '2027-01-01T00:00:00Z'}]"),
            "models[llama].prices[1].from", "duplicate of prices[0].from"},
        Row{"name_with_spaces", std::string(kApp) + "models: [{name: a b}]\n", "models[0].name",
            "1 to 128 characters, no spaces"},
        Row{"two_documents", std::string(kApp) + "---\na: b\n", "file", "holds more than one document"},
        Row{"low_balance_percent", std::string(kApp) + "notices: {low_balance_percent: 100}\n",
            "notices.low_balance_percent", "must be 1 to 99"},
        Row{"webhook_url", std::string(kApp) + "notices: {webhook: {url: 'ftp://h', secret: x}}\n",
            "notices.webhook.url", "must be http or https (got \"ftp://h\")"},
        Row{"webhook_secret", std::string(kApp) + "notices: {webhook: {url: 'https://h/x'}}\n",
            "notices.webhook.secret", "is required"},
        Row{"short_webhook_secret", std::string(kApp) + "notices: {webhook: {url: 'https://h/x', secret: short}}\n",
            "notices.webhook.secret", "is shorter than 24 bytes"},
        Row{"webhook_secret_without_base64",
            std::string(kApp) + "notices: {webhook: {url: 'https://h/x', secret: whsec_%%%%}}\n",
            "notices.webhook.secret", "`whsec_` without base64 behind it"},
        Row{"mail_from", std::string(kApp) + "notices: {mail: {host: mail.example.edu}}\n", "notices.mail.from",
            "is required"},
        Row{"mail_from_that_is_no_address",
            std::string(kApp) + "notices: {mail: {host: mail.example.edu, from: 'Lumen <l@e.edu>'}}\n",
            "notices.mail.from", "not an email address"},
        Row{"mail_host", std::string(kApp) + "notices: {mail: {host: 'smtp://mail', from: l@e.edu}}\n",
            "notices.mail.host", "not the name of a host"},
        Row{"mail_port", std::string(kApp) + "notices: {mail: {host: mail, port: 70000, from: l@e.edu}}\n",
            "notices.mail.port", "must be 1 to 65535"},
        Row{"mail_security", std::string(kApp) + "notices: {mail: {host: mail, security: ssl, from: l@e.edu}}\n",
            "notices.mail.security", "must be starttls, tls or none"},
        Row{"mail_password", std::string(kApp) + "notices: {mail: {host: mail, username: u, from: l@e.edu}}\n",
            "notices.mail.password", "is required"},
        Row{"mail_password_in_the_clear",
            std::string(kApp) + "notices: {mail: {host: m, security: none, username: u, password: p, from: l@e.edu}}\n",
            "notices.mail.security", "must be starttls or tls with a username"},
        Row{"previous_secret_that_is_the_same",
            "app: {public_url: 'https://l.example.edu', debug: true, dev_user: a@example.edu, previous_encryption_key: "
            "fedcba9876543210fedcba9876543210}\n",
            "app.previous_encryption_key", "is the same as encryption_key"},
        Row{"listen", "app: {public_url: 'https://l.example.edu', listen: here}\n", "app.listen", "must be host:port"}),
    [](const auto& each) { return std::string(each.param.name); });

class SettingsWarnings : public ::testing::TestWithParam<Row> {};

TEST_P(SettingsWarnings, let_the_file_pass) {
    const SettingsResult result = read_settings(GetParam().yaml, kEnvironment);
    EXPECT_TRUE(result.settings.has_value()) << all_of(result.findings);
    EXPECT_TRUE(has(result.findings, Finding::Severity::warning, GetParam())) << all_of(result.findings);
}

INSTANTIATE_TEST_SUITE_P(
    spec_config_3_and_5, SettingsWarnings,
    ::testing::Values(
        Row{"unknown_key", std::string(kApp) + "rate_limiting: {limits: 1/second}\n", "rate_limiting.limits",
            "unknown key; did you mean `limit`?"},
        Row{"unknown_key_like_nothing", std::string(kApp) + "zebra: 1\n", "zebra", "unknown key"},
        Row{"ineffective_key", std::string(kApp) + "prometheus: {a: 1}\n", "prometheus", "has no effect"},
        Row{"duplicate_key", std::string(kApp) + "health: {timeout: 2, timeout: 3}\n", "health.timeout",
            "is there twice; the last one counts"},
        Row{"unknown_model_in_a_list", model("") + "groups: {g: {model_access: {allowed: [lama]}}}\n",
            "groups.g.model_access", "no model `lama`"},
        Row{"unknown_group_in_a_list", std::string(kApp) + "users: {a@example.edu: {groups: [nobody]}}\n",
            "users.a@example.edu.groups", "no group `nobody`"},
        Row{"unknown_theme",
            "app: {public_url: 'https://l.example.edu', debug: true, dev_user: a@example.edu, theme: pink}\n",
            "app.theme", "unknown theme; `default` is used"},
        Row{"allowed_and_blocked", model("") + "groups: {g: {model_access: {allowed: [llama], blocked: [llama]}}}\n",
            "groups.g.model_access.allowed", "`llama` is blocked as well, and blocked wins"},
        Row{"rule_that_cannot_match", std::string(kApp) + "groups: {g: {rules: [{field: idp, equals: ''}]}}\n",
            "groups.g.rules[0]", "can never match"},
        Row{"free_model", std::string(kApp) + "models: [{name: gift}]\n", "models[gift]", "has no price: it is free"},
        Row{"model_twice", model("") + "  - {name: llama, input_cost_per_million: 2}\n", "models[llama]",
            "is there twice; the last one counts"},
        Row{"whitelist", model("") + "groups: {g: {model_access: {whitelist: [llama]}}}\n",
            "groups.g.model_access.whitelist", "is `allowed` here"},
        Row{"pool", std::string(kApp) + "users: {a@example.edu: {pool: {max: 3}}}\n", "users.a@example.edu.pool",
            "its keys belong one level up; it alone counts"},
        Row{"audio_per_minute", model("audio_cost_per_minute: 0.01"), "models[llama].audio_cost_per_minute",
            "is `audio_cost_per_hour` / 60 here"},
        Row{"no_effect", model("supports_vision: true"), "models[llama].supports_vision", "has no effect"}),
    [](const auto& each) { return std::string(each.param.name); });

Settings good(const std::string& yaml, const Environment& environment = kEnvironment) {
    SettingsResult result = read_settings(yaml, environment);
    EXPECT_TRUE(result.settings.has_value()) << all_of(result.findings);
    return result.settings.value_or(Settings{});
}

TEST(Settings, short_secrets_are_warned_of) {
    Environment environment = kEnvironment;
    environment["LUMEN_SECRET_KEY"] = "short";
    const SettingsResult result = read_settings(kApp, environment);
    EXPECT_TRUE(
        has(result.findings, Finding::Severity::warning, Row{"", "", "app.secret_key", "is shorter than 32 bytes"}));
}

TEST(Settings, only_postgresql_is_a_database) {
    Environment environment = kEnvironment;
    environment.erase("DATABASE_URL");
    const std::string app =
        "app: {public_url: 'https://l.example.edu', debug: true, dev_user: a@example.edu, database: {url: '";
    const SettingsResult sqlite = read_settings(app + "sqlite:///x'}}\n", environment);
    EXPECT_FALSE(sqlite.settings.has_value());
    EXPECT_TRUE(has(sqlite.findings, Finding::Severity::error,
                    Row{"", "", "app.database.url", "only postgresql:// is supported"}));
    const SettingsResult old = read_settings(app + "postgres://h/d'}}\n", environment);
    ASSERT_TRUE(old.settings.has_value());
    EXPECT_EQ(old.settings->app.database_url, "postgresql://h/d");
}

TEST(Settings, all_findings_come_at_once) {
    const SettingsResult result = read_settings(
        model("access: maybe, weight: 1, context_window: x") + "rate_limiting: {limit: often}\n", kEnvironment);
    EXPECT_GE(result.findings.size(), 4u) << all_of(result.findings);
}

TEST(Settings, amounts_are_read_from_their_text_to_the_last_nano) {
    const Settings settings = good(model("output_cost_per_million: 0.600000001, request_cost: 4000000"));
    const Price& price = settings.models[0].prices[0].price;
    EXPECT_EQ(price.output_per_million.nano(), 600'000'001);
    EXPECT_EQ(price.request, kMaxAmount);
}

TEST(Settings, absent_prices_follow_the_ones_they_are_parts_of) {
    const Settings settings = good(model("output_cost_per_million: 2"));
    const Price& price = settings.models[0].prices[0].price;
    EXPECT_EQ(price.cached_per_million, price.input_per_million);
    EXPECT_EQ(price.cache_write_per_million, price.input_per_million);
    EXPECT_EQ(price.reasoning_per_million, price.output_per_million);
    EXPECT_EQ(price.audio_per_hour, NanoCoins(0));
}

TEST(Settings, planned_prices_change_only_what_they_name) {
    const Settings settings =
        good(model("output_cost_per_million: 2, prices: [{from: '2028-01-01T00:00:00Z', "
                   "input_cost_per_million: 3}, {from: '2027-01-01T00:00:00Z', "
                   "output_cost_per_million: 4}]"));
    const auto& prices = settings.models[0].prices;
    ASSERT_EQ(prices.size(), 3u);
    EXPECT_EQ(prices[1].from_ms, 1'798'761'600'000);
    EXPECT_EQ(format_coins(prices[1].price.output_per_million), "4");
    EXPECT_EQ(format_coins(prices[1].price.input_per_million), "1");
    EXPECT_EQ(format_coins(prices[2].price.input_per_million), "3");
    EXPECT_EQ(format_coins(prices[2].price.output_per_million), "4");
}

TEST(Settings, variables_and_files_stand_in_secrets_and_urls_only) {
    const harness::TemporaryDirectory directory{"lumen-settings"};
    std::ofstream(directory.path() + "/key") << "from-a-file\n";
    Environment environment = kEnvironment;
    environment["GPU"] = "gpu1:8000";
    const Settings settings =
        good(model("description: '${GPU}', endpoints: [{url: 'http://${GPU}/v1', api_key: '${file:" + directory.path() +
                   "/key}'}, {url: 'http://b/v1', api_key: 'a$${b}'}]"),
             environment);
    EXPECT_EQ(settings.models[0].description, "${GPU}");
    EXPECT_EQ(settings.models[0].endpoints[0].url, "http://gpu1:8000/v1");
    EXPECT_EQ(settings.models[0].endpoints[0].api_key, "from-a-file");
    EXPECT_EQ(settings.models[0].endpoints[1].api_key, "a${b}");
}

TEST(Settings, the_environment_wins_over_the_file) {
    Environment environment = kEnvironment;
    environment["LUMEN_LISTEN"] = "0.0.0.0:7000";
    environment["LUMEN_REDIS_URL"] = "unix:///run/r.sock";
    const Settings settings = good(std::string(kApp) + "redis: {url: 'redis://elsewhere:1/0'}\n", environment);
    EXPECT_EQ(settings.app.listen_host, "0.0.0.0");
    EXPECT_EQ(settings.app.listen_port, 7000);
    EXPECT_EQ(settings.redis_url, "unix:///run/r.sock");
    EXPECT_EQ(settings.app.database_url, "postgresql://lumen@/lumen");
}

TEST(Settings, a_stop_takes_no_longer_than_it_must_unless_told) {
    EXPECT_EQ(good(kApp).app.stop_grace.count(), 0);
    const std::string app(kApp);
    EXPECT_EQ(good(app.substr(0, app.find_last_of('}')) + ", stop_grace: 8}\n").app.stop_grace.count(), 8);
}

TEST(Settings, no_finding_shows_a_secret) {
    const SettingsResult result = read_settings(
        "app: {public_url: 'https://l.example.edu', secret_key: hush-hush, database: {url: "
        "'mysql://me:hush-hush@h/d'}}\n"
        "redis: {url: 'http://me:hush-hush@h'}\n"
        "models: [{name: m, endpoints: [{url: 'ftp://me:hush-hush@h', api_key: hush-hush}]}]\n",
        {});
    EXPECT_FALSE(result.settings.has_value());
    EXPECT_EQ(all_of(result.findings).find("hush-hush"), std::string::npos) << all_of(result.findings);
}

TEST(Settings, anchors_and_merge_keys_work) {
    const Settings settings =
        good(std::string(kApp) + "groups:\n  a: &base {max: 5, refresh: 1}\n  b: {<<: *base, max: 7}\n");
    ASSERT_EQ(settings.groups.size(), 2u);
    EXPECT_EQ(format_coins(settings.group("b")->budget->max), "7");
    EXPECT_EQ(format_coins(settings.group("b")->budget->refresh), "1");
}

TEST(Settings, yaml_1_1_words_are_booleans) {
    EXPECT_FALSE(good(std::string(kApp) + "api: {consent: off}\n").api.consent);
    EXPECT_TRUE(good(std::string(kApp) + "api: {consent: yes}\n").api.consent);
}

TEST(Settings, a_block_without_coins_says_nothing_about_coins) {
    const Settings settings = good(std::string(kApp) + "groups: {g: {mode: strict}}\n");
    EXPECT_FALSE(settings.groups[0].budget.has_value());
    EXPECT_TRUE(settings.groups[0].strict.value_or(false));
}

TEST(Settings, a_block_with_some_coins_takes_the_rest_from_the_defaults) {
    const Settings settings = good(std::string(kApp) +
                                   "defaults: {tokens: {max: 10, refresh: 2, starting: 4}}\n"
                                   "groups: {only_max: {max: 6}, only_refresh: {refresh: 3}}\n");
    const BudgetRule& only_max = *settings.group("only_max")->budget;
    EXPECT_EQ(format_coins(only_max.refresh), "2");
    EXPECT_EQ(format_coins(only_max.starting), "6");
    const BudgetRule& only_refresh = *settings.group("only_refresh")->budget;
    EXPECT_EQ(format_coins(only_refresh.max), "10");
    EXPECT_EQ(format_coins(only_refresh.starting), "4");
}

TEST(Settings, made_up_endpoint_ids_name_no_address_and_stay) {
    const std::string yaml = endpoints("{url: 'http://gpu-host:8000/v1'}, {url: 'http://gpu-host:8000/v1'}");
    const Settings settings = good(yaml);
    const auto& made = settings.models[0].endpoints;
    EXPECT_EQ(made[0].id.find("gpu-host"), std::string::npos);
    EXPECT_NE(made[0].id, made[1].id);
    EXPECT_EQ(good(yaml).models[0].endpoints[0].id, made[0].id);
}

struct RateRow {
    const char* text;
    std::int64_t count;
    std::int64_t seconds;
};
class Rates : public ::testing::TestWithParam<RateRow> {};
TEST_P(Rates, are_read_in_both_forms) {
    const auto rates = parse_rates(GetParam().text);
    ASSERT_TRUE(rates && rates->size() == 1) << GetParam().text;
    EXPECT_EQ(rates->front().count, GetParam().count);
    EXPECT_EQ(rates->front().period.count(), GetParam().seconds);
}
INSTANTIATE_TEST_SUITE_P(spec_config_1, Rates,
                         ::testing::Values(RateRow{"30 per minute", 30, 60}, RateRow{"30/minute", 30, 60},
                                           RateRow{"5 per 10 seconds", 5, 10}, RateRow{"1 per day", 1, 86400},
                                           RateRow{"7/hours", 7, 3600}));

TEST(Rates, two_are_joined_by_a_semicolon_and_none_is_empty) {
    EXPECT_EQ(parse_rates("1/second; 30 per minute")->size(), 2u);
    EXPECT_TRUE(parse_rates("")->empty());
    for (const char* wrong : {"0 per minute", "-1/second", "1 per fortnight", "per minute", "1 per 0 minute", "1/", "/",
                              "1 per 200 years"}) {
        EXPECT_FALSE(parse_rates(wrong).has_value()) << wrong;
    }
}

TEST(Settings, a_bomb_of_aliases_ends_quickly) {
    std::string yaml = std::string(kApp) + "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
    for (char c = 'b'; c <= 'k'; ++c) {
        yaml += std::string(1, c) + ": &" + c + " [";
        for (int i = 0; i < 10; ++i) yaml += std::string(i > 0 ? "," : "") + "*" + static_cast<char>(c - 1);
        yaml += "]\n";
    }
    EXPECT_TRUE(read_settings(yaml, kEnvironment).settings.has_value());
}

}  // namespace
}  // namespace lumen::admind

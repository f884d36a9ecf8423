// NCSA Lumen's own config.yaml: each row of spec/config.md §5, and a whole one as people have it.
#include <gtest/gtest.h>

#include <cctype>
#include <functional>

#include "admind/settings/settings.h"

namespace lumen::admind {
namespace {

const Environment kSecrets{{"DATABASE_URL", "postgresql://lumen@/lumen"},
                           {"LUMEN_SECRET_KEY", "0123456789abcdef0123456789abcdef"},
                           {"LUMEN_ENCRYPTION_KEY", "fedcba9876543210fedcba9876543210"}};
constexpr const char* kDevApp = "app: {public_url: 'https://l.example.edu', debug: true, dev_user: a@example.edu}\n";

std::string one_model(const std::string& members) {
    return std::string(kDevApp) + "models: [{name: m, input_cost_per_million: 1, " + members + "}]\n";
}

std::string printed(const std::vector<Finding>& findings) {
    std::string text;
    for (const Finding& finding : findings) text += finding.path + ": " + finding.reason + "\n";
    return text;
}

struct Spelling {
    const char* name;
    std::string yaml;
    const char* finding;  ///< "path: reason" of its warning
    std::function<bool(const Settings&)> became;
};
void PrintTo(const Spelling& row, std::ostream* out) {
    *out << row.name;
}

const EntitySettings& only_user(const Settings& settings) {
    return settings.users.at(0);
}

class NcsaSpellings : public ::testing::TestWithParam<Spelling> {};
TEST_P(NcsaSpellings, mean_here_what_the_table_says_and_are_warned_of) {
    Environment environment = kSecrets;
    if (GetParam().yaml.find("database:") != std::string::npos) environment.erase("DATABASE_URL");
    const SettingsResult result = read_settings(GetParam().yaml, environment);
    ASSERT_TRUE(result.settings.has_value()) << printed(result.findings);
    EXPECT_NE(("\n" + printed(result.findings)).find(std::string("\n") + GetParam().finding + "\n"), std::string::npos)
        << printed(result.findings);
    EXPECT_TRUE(GetParam().became(*result.settings));
}
INSTANTIATE_TEST_SUITE_P(
    spec_config_5, NcsaSpellings,
    ::testing::Values(
        Spelling{"whitelist", one_model("access: allowed") + "groups: {g: {model_access: {whitelist: [m]}}}\n",
                 "groups.g.model_access.whitelist: is `allowed` here",
                 [](const Settings& s) { return s.groups[0].access.allowed == std::vector<std::string>{"m"}; }},
        Spelling{"blacklist", one_model("access: allowed") + "groups: {g: {model_access: {blacklist: [m]}}}\n",
                 "groups.g.model_access.blacklist: is `blocked` here",
                 [](const Settings& s) { return s.groups[0].access.blocked == std::vector<std::string>{"m"}; }},
        Spelling{"whitelist_as_default", std::string(kDevApp) + "groups: {g: {model_access: {default: whitelist}}}\n",
                 "groups.g.model_access.default: `whitelist` is `allowed` here",
                 [](const Settings& s) { return s.groups[0].access.fallback == AccessRule::allowed; }},
        Spelling{"blacklist_as_default", std::string(kDevApp) + "groups: {g: {model_access: {default: blacklist}}}\n",
                 "groups.g.model_access.default: `blacklist` is `blocked` here",
                 [](const Settings& s) { return s.groups[0].access.fallback == AccessRule::blocked; }},
        Spelling{"graylist", one_model("access: blocked") + "groups: {g: {model_access: {graylist: [m]}}}\n",
                 "groups.g.model_access.graylist: is `allowed` plus `needs_ack` on the model here",
                 [](const Settings& s) {
                     return s.models[0].needs_ack && s.groups[0].access.allowed == std::vector<std::string>{"m"};
                 }},
        Spelling{"star", std::string(kDevApp) + "users: {a@example.edu: {model_access: {blacklist: ['*']}}}\n",
                 "users.a@example.edu.model_access.blocked: `*` is `default` here",
                 [](const Settings& s) { return only_user(s).access.fallback == AccessRule::blocked; }},
        Spelling{
            "star_beside_a_default",
            std::string(kDevApp) + "users: {a@example.edu: {model_access: {default: allowed, blacklist: ['*']}}}\n",
            "users.a@example.edu.model_access.blocked: `*` is `default` here",
            [](const Settings& s) { return only_user(s).access.fallback == AccessRule::allowed; }},
        Spelling{"inactive", one_model("active: false"), "models[m].active: `active: false` is `disabled: true` here",
                 [](const Settings& s) { return s.models[0].disabled; }},
        Spelling{"inactive_beside_access", one_model("active: false, access: allowed"),
                 "models[m].active: `active: false` is `disabled: true` here",
                 [](const Settings& s) { return !s.models[0].disabled; }},
        Spelling{"audio_per_minute", one_model("audio_cost_per_minute: 0.01"),
                 "models[m].audio_cost_per_minute: is `audio_cost_per_hour` / 60 here",
                 [](const Settings& s) { return s.models[0].prices[0].price.audio_per_hour.nano() == 600'000'000; }},
        Spelling{"audio_per_minute_beside_hour", one_model("audio_cost_per_minute: 0.01, audio_cost_per_hour: 2"),
                 "models[m].audio_cost_per_minute: is `audio_cost_per_hour` / 60 here",
                 [](const Settings& s) { return s.models[0].prices[0].price.audio_per_hour.nano() == 2'000'000'000; }},
        Spelling{"graylist_default_notice",
                 "app: {public_url: 'https://l.example.edu', debug: true, dev_user: a@example.edu,"
                 " graylist_default_notice: Careful.}\nmodels: [{name: m, needs_ack: true}]\n",
                 "app.graylist_default_notice: is `defaults.models.ack_message` here",
                 [](const Settings& s) { return s.models[0].ack_message == "Careful."; }},
        Spelling{"pool", std::string(kDevApp) + "users: {a@example.edu: {max: 1, pool: {max: 3}}}\n",
                 "users.a@example.edu.pool: its keys belong one level up; it alone counts",
                 [](const Settings& s) { return only_user(s).budget->max.nano() == 3'000'000'000; }},
        Spelling{"models_of_a_user", one_model("access: blocked") + "users: {a@example.edu: {models: [m]}}\n",
                 "users.a@example.edu.models: is `model_access.allowed` here",
                 [](const Settings& s) { return only_user(s).access.allowed == std::vector<std::string>{"m"}; }},
        Spelling{"storage_url", std::string(kDevApp) + "rate_limiting: {storage_url: 'redis://r:1/2'}\n",
                 "rate_limiting.storage_url: is `redis.url` here",
                 [](const Settings& s) { return s.redis_url == "redis://r:1/2"; }},
        Spelling{
            "storage_url_beside_redis",
            std::string(kDevApp) + "rate_limiting: {storage_url: 'redis://r:1/2'}\nredis: {url: 'redis://own:1/0'}\n",
            "rate_limiting.storage_url: is `redis.url` here",
            [](const Settings& s) { return s.redis_url == "redis://own:1/0"; }},
        Spelling{"storage_in_memory", std::string(kDevApp) + "rate_limiting: {storage_url: 'memory://'}\n",
                 "rate_limiting.storage_url: has no effect",
                 [](const Settings& s) { return s.redis_url == "redis://127.0.0.1:6379/0"; }},
        Spelling{"postgres_scheme",
                 "app: {public_url: 'https://l.example.edu', debug: true, dev_user: a@example.edu,"
                 " database: {url: 'postgres://h/d'}}\n",
                 "app.database.url: `postgres://` is `postgresql://` here",
                 [](const Settings& s) { return s.app.database_url == "postgresql://h/d"; }},
        Spelling{"postgres_driver",
                 "app: {public_url: 'https://l.example.edu', debug: true, dev_user: a@example.edu,"
                 " database: {url: 'postgresql+psycopg://h/d'}}\n",
                 "app.database.url: `postgresql+psycopg://` is `postgresql://` here",
                 [](const Settings& s) { return s.app.database_url == "postgresql://h/d"; }}),
    [](const auto& each) { return std::string(each.param.name); });

class NcsaWithoutEffect : public ::testing::TestWithParam<std::pair<const char*, std::string>> {};
TEST_P(NcsaWithoutEffect, is_reported) {
    const auto& [path, yaml] = GetParam();
    const SettingsResult result = read_settings(yaml, kSecrets);
    ASSERT_TRUE(result.settings.has_value()) << printed(result.findings);
    EXPECT_NE(printed(result.findings).find(std::string(path) + ": has no effect\n"), std::string::npos)
        << printed(result.findings);
}
std::string app_with(const std::string& members) {
    return "app: {public_url: 'https://l.example.edu', debug: true, dev_user: a@example.edu, " + members + "}\n";
}
INSTANTIATE_TEST_SUITE_P(
    spec_config_5, NcsaWithoutEffect,
    ::testing::Values(std::pair{"api.prometheus.multiproc_dir",
                                std::string(kDevApp) + "api: {prometheus: {multiproc_dir: /tmp/x}}\n"},
                      std::pair{"app.database.max_overflow", app_with("database: {max_overflow: 1}")},
                      std::pair{"app.database.max_connections", app_with("database: {max_connections: 1}")},
                      std::pair{"app.database.pool_pre_ping", app_with("database: {pool_pre_ping: true}")},
                      std::pair{"app.database_url", app_with("database_url: x")},
                      std::pair{"app.db_pool", app_with("db_pool: {a: 1}")},
                      std::pair{"chat.remove", std::string(kDevApp) + "chat: {remove: hide}\n"},
                      std::pair{"models[m].supports_vision", one_model("supports_vision: true")},
                      std::pair{"models[m].max_input_tokens", one_model("max_input_tokens: 5")},
                      std::pair{"groups.g.models", std::string(kDevApp) + "groups: {g: {models: [a]}}\n"},
                      std::pair{"clients", std::string(kDevApp) + "clients: {default: {}}\n"},
                      std::pair{"model_access", std::string(kDevApp) + "model_access: {a: b}\n"},
                      std::pair{"prometheus", std::string(kDevApp) + "prometheus: {a: b}\n"},
                      std::pair{"monitoring", std::string(kDevApp) + "monitoring: {a: b}\n"}),
    [](const auto& each) {
        std::string name = each.param.first;
        for (char& c : name) {
            if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
        }
        return name;
    });

/// What differs from there on purpose.
TEST(NcsaDifferences, sqlite_is_refused) {
    Environment environment = kSecrets;
    environment.erase("DATABASE_URL");
    const SettingsResult result = read_settings(app_with("database: {url: 'sqlite:///lumen.db'}"), environment);
    EXPECT_NE(printed(result.findings).find("app.database.url: only postgresql:// is supported"), std::string::npos);
    EXPECT_FALSE(result.settings.has_value());
}

TEST(NcsaDifferences, an_unknown_access_word_is_an_error) {
    EXPECT_FALSE(read_settings(one_model("access: greylist"), kSecrets).settings.has_value());
}

constexpr const char* kRealFile = R"(
version: 2
app:
  name: Illinois Chat
  tagline: Illuminating AI access
  secret_key: "a session secret that is long enough for anybody"
  encryption_key: "a key secret that is long enough for anybody, too"
  database: {url: "postgresql+psycopg2://lumen:pw@db:5432/lumen", pool_timeout: 10, pool_recycle: 1800, max_overflow: 60}
  debug: false
  theme: illinois
  announcement: "<b>Maintenance</b> on Friday"
oauth2:
  client_id: cilogon:/client_id/abc
  client_secret: shh
  server_metadata_url: https://cilogon.org/.well-known/openid-configuration
  redirect_uri: https://chat.example.edu/callback
  scopes: openid email profile org.cilogon.userinfo
  params: {idphint: "urn:mace:incommon:uiuc.edu"}
admins: [Admin@Example.edu]
api:
  consent: true
  prometheus: {enabled: true, token: metrics, multiproc_dir: ""}
  monitoring: {token: monitor}
chat:
  upload: {max_size_mb: 10, max_text_chars: 100000, allowed_extensions: [txt, md, pdf]}
rate_limiting: {storage_url: "redis://redis:6379/0", limit: "30 per minute"}
defaults:
  models: {access: blocked, ack_message: Please read.}
  tokens: {max: 10, refresh: 0.1, starting: 10}
groups:
  default: {model_access: {default: blocked, allowed: [llama]}}
  staff:
    rules:
      - {field: affiliation, contains: staff@illinois.edu}
      - {field: idp, equals: "urn:mace:incommon:uiuc.edu"}
    max: 20
    refresh: 0.05
    model_access: {default: whitelist, blacklist: [old]}
users:
  default: {groups: []}
  ada@example.edu: {groups: [staff], max: -2}
projects:
  default: {max: 100.0, refresh: 0.0, starting: 100.0, model_access: {default: whitelist}}
  research-bot: {max: 500.0, refresh: 1.0, starting: 500.0, model_access: {default: blacklist, whitelist: [llama]}}
models:
  - {name: llama, active: true, input_cost_per_million: 0.15, output_cost_per_million: 0.6, access: allowed,
     supports_vision: true, context_window: 131072, knowledge_cutoff: "2023-12", input_modalities: [text, image],
     endpoints: [{url: "http://gpu1:8000/v1", api_key: k1, model: meta/llama}, {url: "http://gpu2:8000/v1", api_key: k2}]}
  - {name: old, active: false, input_cost_per_million: 1.0, output_cost_per_million: 1.0}
)";

TEST(NcsaConfig, as_people_have_it_is_accepted_unchanged) {
    const SettingsResult result = read_settings(kRealFile, {});
    ASSERT_TRUE(result.settings.has_value()) << printed(result.findings);
    for (const Finding& finding : result.findings) {
        EXPECT_EQ(finding.severity, Finding::Severity::warning) << finding.path << ": " << finding.reason;
        EXPECT_EQ(finding.reason.find("unknown key"), std::string::npos) << finding.path << ": " << finding.reason;
    }
    const Settings& settings = *result.settings;
    EXPECT_EQ(settings.app.public_url, "https://chat.example.edu") << "the origin of redirect_uri";
    EXPECT_EQ(settings.app.database_url, "postgresql://lumen:pw@db:5432/lumen");
    EXPECT_EQ(settings.redis_url, "redis://redis:6379/0");
    EXPECT_TRUE(settings.is_admin("admin@example.edu"));
    EXPECT_EQ(settings.group("staff")->rules.size(), 2u);
    EXPECT_EQ(only_user(settings).budget->kind, MaxKind::unlimited);
    EXPECT_TRUE(settings.models[1].disabled);
    EXPECT_EQ(settings.models[0].endpoints[0].model, "meta/llama");
    EXPECT_EQ(settings.projects[0].budget->max.nano(), 500'000'000'000);
}

}  // namespace
}  // namespace lumen::admind

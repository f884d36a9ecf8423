#include "admind/settings/settings.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>
#include <stdexcept>

#include "admind/settings/settings_sections.h"
#include "admind/settings/settings_values.h"
#include "admind/stores/redis_address.h"
#include "lumen_core/api_key.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLeastSecretBytes = 32;

void read_listen(Section& app, SettingsReport& report, AppSettings& settings) {
    std::string listen = app.text("listen", "127.0.0.1:5001");
    if (const auto set = report.environment().find("LUMEN_LISTEN"); set != report.environment().end()) {
        listen = set->second;
    }
    const std::size_t colon = listen.rfind(':');
    std::uint16_t port = 0;
    if (colon != std::string::npos) {
        const char* end = listen.data() + listen.size();
        const auto [stop, problem] = std::from_chars(listen.data() + colon + 1, end, port);
        if (problem != std::errc{} || stop != end) port = 0;
    }
    if (colon == std::string::npos || colon == 0 || port == 0) {
        app.error("listen", "must be host:port");
        return;
    }
    settings.listen_host = listen.substr(0, colon);
    if (settings.listen_host.front() == '[') settings.listen_host = settings.listen_host.substr(1, colon - 2);
    settings.listen_port = port;
}

void read_secret_key(Section& app, const char* key, const char* variable, std::string& to) {
    const auto secret = app.secret(key, variable);
    const bool in_file_but_wrong = app.has(key) && !secret;
    if (in_file_but_wrong) return;  // reported already
    if (!secret || secret->empty()) {
        app.required(key);
        return;
    }
    to = strip_final_newline(*secret);
    if (to.size() < kLeastSecretBytes) app.warning(key, "is shorter than 32 bytes");
}

void read_previous_secret(Section& app, AppSettings& to) {
    to.previous_encryption_key =
        strip_final_newline(app.secret("previous_encryption_key", "LUMEN_PREVIOUS_ENCRYPTION_KEY").value_or(""));
    if (!to.previous_encryption_key.empty() && to.previous_encryption_key == to.encryption_key) {
        app.error("previous_encryption_key", "is the same as encryption_key");
    }
}

void read_database(Section& app, AppSettings& settings) {
    Section database = app.section("database");
    database.no_effect({"max_overflow", "max_connections", "pool_pre_ping"});
    auto url = database.url("url", "DATABASE_URL");
    if (!url || url->empty()) {
        if (!database.has("url") || url) database.required("url");
    } else {
        const std::size_t scheme_end = url->find("://");
        const std::string scheme = url->substr(0, scheme_end == std::string::npos ? 0 : scheme_end);
        if (scheme == "postgresql") {
            settings.database_url = *url;
        } else if (scheme == "postgres" || scheme.compare(0, 11, "postgresql+") == 0) {
            database.warning("url", "`" + scheme + "://` is `postgresql://` here");
            settings.database_url = "postgresql" + url->substr(scheme_end);
        } else {
            database.error("url", "only postgresql:// is supported");
        }
    }
    settings.database_pool_size = static_cast<std::size_t>(database.integer("pool_size", 1, 200).value_or(16));
    settings.database_pool_timeout = std::chrono::seconds(database.integer("pool_timeout", 1, 600).value_or(30));
    database.integer("pool_recycle", 1, 86'400);
    database.finish();
}

void read_dev_user(Section& app, SettingsReport& report, AppSettings& settings) {
    const YAML::Node node = app.raw("dev_user");
    if (!node.IsDefined()) return;
    DevUser user;
    if (node.IsScalar()) {
        user.email = app.email("dev_user").value_or("");
    } else {
        Section section(report, node, app.path_of("dev_user"));
        user.email = section.email("email").value_or("");
        user.groups = section.texts("groups");
        section.finish();
    }
    if (user.email.empty()) return;
    if (!settings.debug) app.error("dev_user", "needs app.debug: true");
    settings.dev_user = std::move(user);
}

std::string origin_of(const std::string& url) {
    const auto parsed = parse_web_url(url);
    if (!parsed) return "";
    const std::size_t authority_end = url.find('/', url.find("://") + 3);
    return url.substr(0, authority_end);
}

bool is_theme(std::string_view name) {
    return name == "default" || name == "illinois" || name == "uic" || name == "uis";
}

/// As browsers send them: scheme, host and port, nothing behind.
void read_cors_origins(Section& app, AppSettings& to) {
    for (const std::string& origin : app.texts("cors_origins")) {
        const auto url = origin == "*" ? std::nullopt : parse_web_url(origin);
        const bool is_origin = origin == "*" || (url && origin_of(origin) == origin);
        if (is_origin) {
            to.cors_origins.push_back(origin);
        } else {
            app.error("cors_origins", "must be an origin like https://app.example.edu (got \"" + origin + "\")");
        }
    }
}

void read_app(Section& root, SettingsReport& report, Settings& settings) {
    Section app = root.section("app");
    AppSettings& to = settings.app;
    to.name = app.text("name", "Lumen");
    to.tagline = app.text("tagline", "");
    to.public_url = app.web_url("public_url").value_or("");
    if (to.public_url.empty() && !app.has("public_url")) to.public_url = origin_of(settings.oauth.redirect_uri);
    if (to.public_url.empty() && !app.has("public_url")) app.required("public_url");
    read_listen(app, report, to);
    to.stop_grace = std::chrono::seconds(app.integer("stop_grace", 0, 60).value_or(0));
    read_secret_key(app, "secret_key", "LUMEN_SECRET_KEY", to.secret_key);
    read_secret_key(app, "encryption_key", "LUMEN_ENCRYPTION_KEY", to.encryption_key);
    read_previous_secret(app, to);
    read_database(app, to);
    to.debug = app.boolean("debug", false);
    read_dev_user(app, report, to);
    to.announcement = app.text("announcement", "");
    Section support = app.section("support");
    to.support_address = support.email("address").value_or("");
    to.support_subject = support.text("subject", to.name);
    support.finish();
    to.github_url = app.web_url("github_url").value_or("");
    for (const Section::Item& item : app.list("footer_links")) {
        Section link(report, item.node, item.path);
        Link entry{link.text("label", ""), link.web_url("url").value_or("")};
        if (entry.label.empty()) link.required("label");
        if (!link.has("url")) link.required("url");
        link.finish();
        to.footer_links.push_back(std::move(entry));
    }
    read_cors_origins(app, to);
    to.theme = app.text("theme", "default");
    if (!is_theme(to.theme)) {
        app.warning("theme", "unknown theme; `default` is used");
        to.theme = "default";
    }
    Section themes = app.section("email_themes");
    for (const std::string& address : themes.keys()) {
        std::string theme = themes.text(address, "");
        if (!is_theme(theme)) {
            themes.warning(address, "unknown theme; `default` is used");
            theme = "default";
        }
        to.email_themes.insert_or_assign(normalised_email(address), std::move(theme));
    }
    themes.finish();
    to.avatar = app.word("avatar", "gravatar", {"gravatar", "initials"});
    to.config_editor = app.boolean("config_editor", true);
    Section logs = app.section("logs");
    to.log_level = logs.word("level", "info", {"debug", "info", "warning", "error"});
    to.log_access = logs.boolean("access", true);
    logs.boolean("model");
    logs.finish();
    if (app.has("graylist_default_notice")) {
        app.warning("graylist_default_notice", "is `defaults.models.ack_message` here");
    }
    app.raw("graylist_default_notice");  // read with the models
    app.no_effect({"multiproc_dir", "database_url", "db_pool"});
    app.finish();
}

void read_redis(Section& root, SettingsReport& report, Settings& settings) {
    Section redis = root.section("redis");
    Section rates(report, root.raw("rate_limiting"), "rate_limiting");
    settings.redis_url = redis.url("url", "LUMEN_REDIS_URL").value_or("redis://127.0.0.1:6379/0");
    if (!redis.has("url") && rates.has("storage_url")) {
        const std::string storage = rates.url("storage_url").value_or("");
        if (storage.compare(0, 8, "redis://") == 0 || storage.compare(0, 16, "redis+cluster://") == 0) {
            settings.redis_url = storage;
        }
    }
    try {
        parse_redis_url(settings.redis_url);
    } catch (const std::invalid_argument&) {
        redis.error("url", "must be redis://host:port/db, redis+cluster://host:port,host:port or unix:///path");
    }
    redis.finish();
}

void read_oauth(Section& root, Settings& settings) {
    Section oauth = root.section("oauth2");
    OauthSettings& to = settings.oauth;
    to.client_id = oauth.secret("client_id", "OAUTH2_CLIENT_ID").value_or("");
    to.client_secret = oauth.secret("client_secret", "OAUTH2_CLIENT_SECRET").value_or("");
    to.server_metadata_url = oauth.web_url("server_metadata_url", "OAUTH2_SERVER_METADATA_URL").value_or("");
    to.redirect_uri = oauth.web_url("redirect_uri", "OAUTH2_REDIRECT_URI").value_or("");
    if (const auto uri = parse_web_url(to.redirect_uri)) to.callback_path = uri->path;
    to.scopes = oauth.secret("scopes", "OAUTH2_SCOPES").value_or("openid email profile");
    Section params = oauth.section("params");
    for (const std::string& key : params.keys()) {
        const auto value = params.text(key);
        // What makes the sign-in safe is not the file's to set.
        static const std::set<std::string> kOurs{
            "response_type", "client_id", "redirect_uri",   "scope",
            "state",         "nonce",     "code_challenge", "code_challenge_method"};
        if (kOurs.count(key) > 0)
            params.warning(key, "is set by Lumen; no effect");
        else if (value)
            to.params.emplace_back(key, *value);
    }
    to.allow_unverified_email = oauth.boolean("allow_unverified_email", false);
    oauth.finish();
}

void require_oauth(Section& root, SettingsReport& report, const Settings& settings) {
    if (settings.app.dev_user) return;
    Section oauth(report, root.raw("oauth2"), "oauth2");
    if (settings.oauth.client_id.empty()) oauth.required("client_id");
    if (settings.oauth.server_metadata_url.empty() && !oauth.has("server_metadata_url")) {
        oauth.required("server_metadata_url");
    }
    if (settings.oauth.redirect_uri.empty() && !oauth.has("redirect_uri")) oauth.required("redirect_uri");
}

void read_api(Section& root, Settings& settings) {
    Section api = root.section("api");
    settings.api.consent = api.boolean("consent", true);
    Section prometheus = api.section("prometheus");
    settings.api.prometheus_enabled = prometheus.boolean("enabled", false);
    settings.api.prometheus_token = prometheus.secret("token").value_or("");
    if (settings.api.prometheus_enabled && settings.api.prometheus_token.empty()) {
        prometheus.warning("token", "without a token metrics stay off");
    }
    prometheus.no_effect({"multiproc_dir"});
    prometheus.finish();
    Section monitoring = api.section("monitoring");
    settings.api.monitoring_token = monitoring.secret("token").value_or("");
    monitoring.finish();
    api.finish();
}

void read_limits(Section& root, Settings& settings) {
    Section rates = root.section("rate_limiting");
    settings.rates.requests = rates.rates("limit", "30 per minute");
    settings.rates.tokens = rates.rates("tokens", "");
    settings.rates.concurrency = rates.integer("concurrency", 0, 1'000'000).value_or(0);
    settings.rates.login = rates.rates("login", "10 per minute");
    settings.rates.write = rates.rates("write", "600 per minute");
    if (rates.has("storage_url")) {
        const bool memory = rates.text("storage_url", "").compare(0, 9, "memory://") == 0;
        rates.warning("storage_url", memory ? "has no effect" : "is `redis.url` here");
    }
    rates.raw("storage_url");
    rates.finish();

    Section health = root.section("health");
    settings.health.interval = std::chrono::seconds(health.integer("interval", 1, 86'400).value_or(60));
    settings.health.timeout = std::chrono::seconds(health.integer("timeout", 1, 60).value_or(5));
    health.finish();
}

void read_admins(Section& root, SettingsReport& report, Settings& settings) {
    for (const Section::Item& item : root.list("admins")) {
        const auto text = item_text(report, item);
        if (!text) continue;
        std::string email = normalised_email(*text);
        if (is_email(email))
            settings.admins.push_back(std::move(email));
        else
            report.error(item.path, "not an email address");
    }
}

/// Keys of the chat section are checked by the chat; here they only count as known.
void read_chat(Section& root) {
    Section chat = root.section("chat");
    chat.no_effect({"remove"});
    Section upload = chat.section("upload");
    upload.integer("max_size_mb", 1, 512);
    upload.integer("max_text_chars", 1, 10'000'000);
    upload.texts("allowed_extensions");
    upload.finish();
    chat.finish();
}

void read_version(Section& root) {
    const auto version = root.text("version");
    if (version && *version != "1" && *version != "2") root.error("version", "unsupported version");
}

std::vector<YAML::Node> documents(std::string_view yaml, SettingsReport& report) {
    try {
        return YAML::LoadAll(std::string(yaml));
    } catch (const YAML::Exception& problem) {
        const std::string place = problem.mark.is_null() ? "file"
                                                         : "line " + std::to_string(problem.mark.line + 1) +
                                                               ", column " + std::to_string(problem.mark.column + 1);
        report.error(place, "not YAML: " + problem.msg);
        return {};
    }
}

}  // namespace

Environment process_environment() {
    Environment environment;
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
        const std::string_view text(*entry);
        const std::size_t equals = text.find('=');
        if (equals != std::string_view::npos) environment.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    return environment;
}

const std::string& AppSettings::theme_of(std::string_view email) const {
    const std::string address = normalised_email(email);
    const std::size_t at = address.rfind('@');
    for (const std::string& key : {address, at == std::string::npos ? std::string() : address.substr(at)}) {
        const auto found = email_themes.find(key);
        if (!key.empty() && found != email_themes.end()) return found->second;
    }
    return theme;
}

bool Settings::is_admin(std::string_view email_lower) const {
    return std::find(admins.begin(), admins.end(), email_lower) != admins.end();
}

const EntitySettings* Settings::user(std::string_view email_lower) const {
    const auto found =
        std::find_if(users.begin(), users.end(), [&](const auto& user) { return user.name == email_lower; });
    return found == users.end() ? nullptr : &*found;
}

const GroupSettings* Settings::group(std::string_view name) const {
    const auto found =
        std::find_if(groups.begin(), groups.end(), [&](const auto& group) { return group.name == name; });
    return found == groups.end() ? nullptr : &*found;
}

const EntitySettings* Settings::project(std::string_view name) const {
    const auto found =
        std::find_if(projects.begin(), projects.end(), [&](const auto& project) { return project.name == name; });
    if (found != projects.end() && found->said()) return &*found;
    return project_default ? &*project_default : nullptr;
}

SettingsResult read_settings(std::string_view yaml, const Environment& environment) {
    SettingsReport report(environment);
    Settings settings;
    if (yaml.size() > kMaxSettingsBytes) {
        report.error("file", "larger than 4 MiB");
        return {std::nullopt, report.take()};
    }
    const std::vector<YAML::Node> all = documents(yaml, report);
    if (report.failed()) return {std::nullopt, report.take()};
    if (all.size() > 1) {
        report.error("file", "holds more than one document");
        return {std::nullopt, report.take()};
    }

    try {
        Section root(report, all.empty() ? YAML::Node() : all.front(), "");
        read_version(root);
        read_oauth(root, settings);
        read_app(root, report, settings);
        require_oauth(root, report, settings);
        read_redis(root, report, settings);
        read_admins(root, report, settings);
        read_api(root, settings);
        read_chat(root);
        read_limits(root, settings);
        read_notices(root, settings);
        read_people(root, report, settings);
        read_models(root, report, settings);
        cross_check(report, settings);
        root.no_effect({"clients", "model_access", "prometheus", "monitoring"});
        root.finish();
    } catch (const YAML::Exception& problem) {
        report.error("file", "not YAML: " + problem.msg);
    }
    SettingsResult result;
    if (!report.failed()) result.settings = std::move(settings);
    result.findings = report.take();
    return result;
}

SettingsResult load_settings(const std::string& path, const Environment& environment) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return {std::nullopt, {{Finding::Severity::error, path, "cannot be read"}}};
    std::string text(kMaxSettingsBytes + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad()) return {std::nullopt, {{Finding::Severity::error, path, "cannot be read"}}};
    text.resize(static_cast<std::size_t>(file.gcount()));
    return read_settings(text, environment);
}

std::string settings_path(const std::string& from_command_line, const Environment& environment) {
    if (!from_command_line.empty()) return from_command_line;
    for (const char* name : {"LUMEN_CONFIG", "CONFIG_YAML"}) {
        const auto set = environment.find(name);
        if (set != environment.end() && !set->second.empty()) return set->second;
    }
    return "./lumen.yaml";
}

}  // namespace lumen::admind

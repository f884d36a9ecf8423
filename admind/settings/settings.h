// lumen.yaml (spec/config.md) as types: read once, checked whole, immutable afterwards.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/money.h"
#include "lumen_core/policy.h"

namespace lumen::admind {

inline constexpr std::size_t kMaxSettingsBytes = std::size_t{4} * 1024 * 1024;

/// The process environment as a value; nothing else in admind reads it.
using Environment = std::map<std::string, std::string>;
Environment process_environment();

/// One remark about the file, as `lumen-admind check` prints it: `path: reason`.
struct Finding {
    enum class Severity : std::uint8_t { error, warning };
    Severity severity = Severity::error;
    std::string path;
    std::string reason;  ///< never holds a secret
};

/// "30 per minute": `count` in each `period`.
struct Rate {
    std::int64_t count = 0;
    std::chrono::seconds period{60};
};

struct DevUser {
    std::string email;
    std::vector<std::string> groups;
};

struct Link {
    std::string label;
    std::string url;
};

struct AppSettings {
    std::string name;
    std::string tagline;
    std::string public_url;  ///< without a final slash
    std::string listen_host;
    std::uint16_t listen_port = 0;
    std::chrono::seconds stop_grace{0};  ///< from "not ready" to taking no more connections
    std::string secret_key;
    std::string encryption_key;           ///< the installation secret, final newline stripped
    std::string previous_encryption_key;  ///< the one before, while it is rotated; empty: none
    std::string database_url;
    std::size_t database_pool_size = 16;
    std::chrono::seconds database_pool_timeout{30};
    bool debug = false;
    std::optional<DevUser> dev_user;
    std::string announcement;
    std::string support_address;
    std::string support_subject;
    std::string github_url;
    std::vector<Link> footer_links;
    std::vector<std::string> cors_origins;  ///< pages of other sites that may call /v1; "*": any
    std::string theme;
    std::map<std::string, std::string> email_themes;  ///< by address, or by "@domain"; lower case
    std::string avatar;
    bool config_editor = true;  ///< false: nobody changes the file over REST
    std::string log_level;
    bool log_access = true;

    /// The theme of who signs in with this address: its own, its domain's, or the site's.
    const std::string& theme_of(std::string_view email) const;
};

struct OauthSettings {
    std::string client_id;
    std::string client_secret;
    std::string server_metadata_url;
    std::string redirect_uri;
    std::string callback_path;  ///< of redirect_uri
    std::string scopes;
    std::vector<std::pair<std::string, std::string>> params;  ///< added to the authorization request
    bool allow_unverified_email = false;
};

struct ApiSettings {
    bool consent = true;
    bool prometheus_enabled = false;
    std::string prometheus_token;  ///< empty: metrics stay off
    std::string monitoring_token;
};

struct RateSettings {
    std::vector<Rate> requests;  ///< per API key; at most two
    std::vector<Rate> tokens;
    std::int64_t concurrency = 0;  ///< per account; 0 = any
    std::vector<Rate> login;
    std::vector<Rate> write;  ///< changes over REST, per person or operator token
};

struct HealthSettings {
    std::chrono::seconds interval{60};
    std::chrono::seconds timeout{5};
};

/// Notices of wallets that run empty; a way without an address is not offered.
enum class MailSecurity : std::uint8_t { starttls, tls, none };
struct MailSettings {
    std::string host;  ///< of the SMTP server; empty: no mail
    std::uint16_t port = 0;
    MailSecurity security = MailSecurity::starttls;
    std::string username;
    std::string password;
    std::string from;
    std::string ca_file;  ///< empty: the system's certificates
};
struct NoticeSettings {
    int low_balance_percent = 20;  ///< of the limit
    std::string webhook_url;       ///< empty: no webhook
    std::string webhook_secret;    ///< the bytes that sign
    MailSettings mail;
};

/// `model_access` of a group, user or project: names as written; a name in both lists is blocked.
struct AccessSettings {
    std::optional<AccessRule> fallback;
    std::vector<std::string> allowed;
    std::vector<std::string> blocked;
    std::vector<std::string> graylisted;  ///< in NCSA's file: allowed, and these models ask for consent everywhere
    bool said() const noexcept { return fallback || !allowed.empty() || !blocked.empty(); }
};

/// One condition on a sign-in claim. A rule without field or matcher never matches (spec/config.md §5).
struct ClaimRule {
    std::string field;
    std::optional<std::string> contains;
    std::optional<std::string> equals;
};

struct GroupSettings {
    std::string name;
    std::string description;
    bool active = true;  ///< the file's are; one made over REST may be turned off
    std::optional<BudgetRule> budget;
    std::optional<bool> strict;
    AccessSettings access;
    std::vector<ClaimRule> rules;
};

/// users.<email>, projects.<name>, and their defaults.
struct EntitySettings {
    std::string name;  ///< address in lower case, or the project's name
    std::vector<std::string> groups;
    std::optional<BudgetRule> budget;
    std::optional<bool> strict;
    AccessSettings access;
    bool said() const noexcept { return budget || strict || access.said() || !groups.empty(); }
};

struct PricePoint {
    std::int64_t from_ms = 0;  ///< 0: as the file stands now
    Price price;               ///< complete: defaults are resolved
};

struct EndpointSettings {
    std::string id;
    std::string url;  ///< without a final slash
    std::string api_key;
    std::string model;
    std::uint32_t weight = 1;
    bool draining = false;
    bool continuous_usage = false;  ///< its streams can say in each chunk what they have used so far
};

struct ModelSettings {
    std::string name;
    std::optional<AccessRule> access;
    bool needs_ack = false;
    std::string ack_message;
    bool disabled = false;
    bool hide_when_blocked = false;
    std::string description;
    std::string url;
    std::string notice;
    std::vector<PricePoint> prices;  ///< by from_ms, the first at 0
    std::uint64_t context_window = 0;
    std::uint64_t max_output_tokens = 0;
    std::string knowledge_cutoff;
    std::optional<bool> supports_reasoning;
    std::optional<bool> supports_function_calling;
    std::vector<std::string> input_modalities;
    std::vector<std::string> output_modalities;
    bool prefix_affinity = false;
    std::vector<EndpointSettings> endpoints;
};

struct Settings {
    AppSettings app;
    std::string redis_url;
    OauthSettings oauth;
    std::vector<std::string> admins;  ///< lower case
    ApiSettings api;
    RateSettings rates;
    HealthSettings health;
    NoticeSettings notices;
    AccessRule default_access = AccessRule::blocked;
    BudgetRule default_budget;
    bool default_strict = false;
    std::vector<GroupSettings> groups;
    std::vector<std::string> every_user_groups;  ///< users.default.groups
    std::vector<EntitySettings> users;
    std::vector<EntitySettings> projects;
    std::optional<EntitySettings> project_default;
    std::vector<ModelSettings> models;

    bool is_admin(std::string_view email_lower) const;
    const EntitySettings* user(std::string_view email_lower) const;
    const GroupSettings* group(std::string_view name) const;
    /// What the file says of a project of that name: `projects.<name>`, or `projects.default` where that says nothing.
    const EntitySettings* project(std::string_view name) const;
};

struct SettingsResult {
    std::optional<Settings> settings;  ///< absent when any finding is an error
    std::vector<Finding> findings;
};
/// All findings at once, in the order of the file's sections.
SettingsResult read_settings(std::string_view yaml, const Environment& environment);
SettingsResult load_settings(const std::string& path, const Environment& environment);
/// `--config`, else $LUMEN_CONFIG, $CONFIG_YAML, ./lumen.yaml.
std::string settings_path(const std::string& from_command_line, const Environment& environment);

/// Lower case (ASCII) and trimmed: how addresses are stored and compared.
std::string normalised_email(std::string_view text);
bool is_email(std::string_view text) noexcept;

}  // namespace lumen::admind

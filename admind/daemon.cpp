#include "admind/daemon.h"

#include <Poco/Logger.h>
#include <Poco/Message.h>
#include <sys/stat.h>

#include <filesystem>

#include "admind/bounds.h"
#include "admind/people/account_setup.h"
#include "admind/people/secret_rotation.h"
#include "admind/people/site_state.h"
#include "admind/rest/routes.h"
#include "admind/text/json_log.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLedgerConnections = 4;
constexpr std::size_t kNoticeConnections = 3;  // one a job
constexpr std::chrono::seconds kLookAtFile{2};
constexpr std::chrono::seconds kLookAtLead{1};
constexpr std::chrono::milliseconds kLookAtSettings{100};  // a start waits for this
constexpr std::chrono::seconds kSettleAgain{60};           // heals what a crash or an outage left half done
constexpr std::chrono::seconds kPublishAgain{5};           // Redis may have lost the catalogue
constexpr std::chrono::seconds kLookForNotices{1};
constexpr std::chrono::seconds kCleanNoticesUp{30};
constexpr std::chrono::seconds kResolveAgain{30};  // hosts of model servers

LedgerJobsSettings jobs_settings(const Settings& settings, const std::string& state_directory) {
    LedgerJobsSettings jobs;
    jobs.database_url = settings.app.database_url;
    jobs.redis_url = settings.redis_url;
    jobs.redis_timeout = kRedisTimeout;
    jobs.spool_directory = state_directory.empty() ? std::filesystem::temp_directory_path().string() : state_directory;
    return jobs;
}

/// Whatever changes when a file is written or replaced.
std::string file_stamp(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return "";
    return std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec) + " " +
           std::to_string(status.st_size) + " " + std::to_string(status.st_ino);
}

void log_findings(const std::vector<Finding>& findings) {
    Poco::Logger& log = Poco::Logger::get("settings");
    for (const Finding& finding : findings) {
        const std::string text = finding.path + ": " + finding.reason;
        if (finding.severity == Finding::Severity::error)
            log.error(text);
        else
            log.warning(text);
    }
}

void log_access(const HttpRequest& request, const HttpAnswer& answer, std::chrono::microseconds took) {
    Poco::Logger& log = Poco::Logger::get("http");
    if (!log.information()) return;
    Poco::Message message("http", "request", Poco::Message::PRIO_INFORMATION);
    message.set("request", request.id);
    message.set("method", request.method);
    message.set("path", request.path);
    message.set("status", std::to_string(answer.status));
    message.set("us", std::to_string(took.count()));
    log.log(message);
}

}  // namespace

Daemon::Daemon(Settings settings, std::string path, Environment environment, const std::string& state_directory)
    : config_(std::move(path), std::move(environment)),
      settings_(std::move(settings)),
      postgres_(settings_.current()->app.database_url, settings_.current()->app.database_pool_size,
                settings_.current()->app.database_pool_timeout),
      redis_(settings_.current()->redis_url, kRedisLinks, kRedisTimeout),
      ledger_postgres_(settings_.current()->app.database_url, kLedgerConnections,
                       settings_.current()->app.database_pool_timeout),
      ledger_redis_(settings_.current()->redis_url, kLedgerConnections, kRedisTimeout),
      book_(ledger_postgres_, ledger_redis_, state_directory),
      leader_(settings_.current()->app.database_url),
      ledger_jobs_(jobs_settings(*settings_.current(), state_directory), book_, leader_),
      publisher_(settings_, postgres_, redis_),
      endpoints_(redis_),
      prober_(settings_, postgres_, redis_),
      notice_postgres_(settings_.current()->app.database_url, kNoticeConnections,
                       settings_.current()->app.database_pool_timeout),
      notices_(notice_postgres_, settings_, leader_),
      services_{settings_,
                postgres_,
                redis_,
                book_,
                publisher_,
                endpoints_,
                &ledger_jobs_,
                &leader_,
                [this] {
                    std::vector<JobStatus> statuses;
                    for (const auto& job : jobs_) statuses.push_back(job->status());
                    return statuses;
                },
                &remote_pages_,
                &recent_requests_,
                &oidc_,
                &config_,
                &notices_,
                &leaving_},
      seen_file_(file_stamp(config_.path())) {
    config_.load();  // for what it says of the file; the settings are those that were given
    const auto add = [&](const char* name, std::chrono::milliseconds interval, std::function<void()> run) {
        jobs_.push_back(std::make_unique<PeriodicJob>(name, interval, std::move(run)));
    };
    add("settings_file", kLookAtFile, [this] { look_at_settings_file(); });
    add("apply_settings", kLookAtSettings, [this] { apply_settings_as_leader(); });
    add("catalogue", kPublishAgain, [this] { publish_catalogue_as_leader(); });
    add("probe_endpoints", kLookAtLead, [this] {
        if (leader_.is_leader()) prober_.run();
    });
    add("rehash_keys", kLookAtLead, [this] {
        if (!leader_.is_leader()) return;
        RedisPool::Lease redis = redis_.acquire();
        take_rehashes(postgres_, *redis, settings_.current()->app);
    });
    add("notice_mails", kLookForNotices, [this] { notices_.send_mails(); });
    add("notice_webhooks", kLookForNotices, [this] { notices_.send_webhooks(); });
    add("notice_clean_up", kCleanNoticesUp, [this] { notices_.clean_up(); });
}

Daemon::~Daemon() {
    stop();
}

void Daemon::start() {
    const std::shared_ptr<const Settings> settings = settings_.current();
    http_ = std::make_unique<HttpServer>(
        settings->app.listen_host, settings->app.listen_port, [this](const HttpRequest& request) {
            const auto began = std::chrono::steady_clock::now();
            HttpAnswer answer = answer_request(services_, request);
            if (settings_.current()->app.log_access) {
                log_access(
                    request, answer,
                    std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - began));
            }
            return answer;
        });
    ledger_jobs_.start();
    for (const auto& job : jobs_) job->start();
}

void Daemon::stop() {
    if (http_) http_->stop();
    for (const auto& job : jobs_) job->stop();
    ledger_jobs_.stop();
}

void Daemon::reload() {
    const std::lock_guard lock(settings_mutex_);
    seen_file_ = file_stamp(config_.path());
    SettingsResult result = config_.load();
    log_findings(result.findings);
    Poco::Logger& log = Poco::Logger::get("settings");
    if (!result.settings) {
        log.error("the settings file has errors; nothing changed");
        return;
    }
    std::vector<std::string> pending = settings_.replace(std::move(*result.settings));
    for (const std::string& name : pending) log.warning(name + " was changed; a restart is needed for it");
    config_.note_pending(std::move(pending));
    set_log_level(settings_.current()->app.log_level);
    applied_term_ = 0;
    log.information("the settings were read anew");
}

void Daemon::look_at_settings_file() {
    std::string stamp = file_stamp(config_.path());
    {
        const std::lock_guard lock(settings_mutex_);
        if (stamp.empty() || stamp == seen_file_) return;
    }
    reload();
}

void Daemon::apply_settings_as_leader() {
    const std::int64_t term = leader_.term();
    const auto now = std::chrono::steady_clock::now();
    bool heal_only = false;
    {
        const std::lock_guard lock(settings_mutex_);
        heal_only = term == applied_term_;
        if (term == 0 || now < (heal_only ? settle_again_ : apply_again_)) return;
        applied_term_ = term;  // a reload from here on is applied the next time
    }
    try {
        if (heal_only)
            settle_all_accounts(services_, *settings_.current());
        else
            apply_settings_everywhere(services_, *settings_.current(), term, config_.status().hash);
        tell_site_changes(services_, *settings_.current());
    } catch (...) {
        const std::lock_guard lock(settings_mutex_);
        applied_term_ = 0;
        apply_again_ = now + kLookAtLead;
        throw;
    }
    settle_again_ = now + kSettleAgain;
}

void Daemon::publish_catalogue_as_leader() {
    if (!leader_.is_leader()) return;
    const auto now = std::chrono::steady_clock::now();
    if (now >= resolve_again_) {
        publisher_.refresh_addresses();
        resolve_again_ = now + kResolveAgain;
    }
    publisher_.publish();
}

}  // namespace lumen::admind

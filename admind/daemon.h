// `lumen-admind serve` as an object: pools, jobs and HTTP, started in any order of the stores' coming and going.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "admind/catalogue/catalogue_publisher.h"
#include "admind/catalogue/endpoint_prober.h"
#include "admind/catalogue/endpoint_states.h"
#include "admind/ledger/jobs.h"
#include "admind/ledger/ledger_book.h"
#include "admind/ledger/periodic_job.h"
#include "admind/people/notice_sender.h"
#include "admind/people/oidc_provider.h"
#include "admind/people/recent_requests.h"
#include "admind/people/remote_pages.h"
#include "admind/rest/http_server.h"
#include "admind/services.h"
#include "admind/settings/live_settings.h"
#include "admind/stores/leader.h"

namespace lumen::admind {

class Daemon {
 public:
    /// `path`: the file the settings came from, looked at for changes every 2 s. `state_directory`: this daemon's own,
    /// for what must outlive it besides the stores; empty: there is none, so revocations are refused while the book is
    /// away, and events that only a person can judge go to the temporary directory.
    Daemon(Settings settings, std::string path, Environment environment, const std::string& state_directory);
    ~Daemon();

    /// Listens, and starts the jobs. Throws Poco::Net::NetException when the address cannot be had; stores that are
    /// down are waited for by the jobs.
    void start();
    /// Goes on as before, but says that it is not ready: who spreads requests over copies takes this one out.
    void leave() { leaving_ = true; }
    /// What app.stop_grace says now.
    std::chrono::seconds stop_grace() const { return settings_.current()->app.stop_grace; }
    /// Finishes requests and the batch under way.
    void stop();

    std::uint16_t port() const { return http_->port(); }
    /// Reads the file anew, now (SIGHUP).
    void reload();

 private:
    void look_at_settings_file();
    void apply_settings_as_leader();
    void publish_catalogue_as_leader();

    ConfigFile config_;
    LiveSettings settings_;
    PgPool postgres_;
    RedisPool redis_;
    PgPool ledger_postgres_;  ///< revocations wait for nobody's page
    RedisPool ledger_redis_;
    LedgerBook book_;
    Leader leader_;
    LedgerJobs ledger_jobs_;
    CataloguePublisher publisher_;
    EndpointStates endpoints_;
    EndpointProber prober_;
    RemotePages remote_pages_;
    RecentRequests recent_requests_;
    OidcProvider oidc_;
    PgPool notice_postgres_;  ///< a mail server that hangs keeps no page waiting for a connection
    NoticeSender notices_;
    std::atomic<bool> leaving_{false};
    Services services_;

    std::mutex settings_mutex_;
    std::string seen_file_;          ///< mtime, size and inode of the file at the last look
    std::int64_t applied_term_ = 0;  ///< of our lead whose settings are in the book; 0: the file is to be applied anew
    std::chrono::steady_clock::time_point apply_again_{};  ///< not before, after a failure
    std::chrono::steady_clock::time_point settle_again_{};
    std::chrono::steady_clock::time_point resolve_again_{};

    std::vector<std::unique_ptr<PeriodicJob>> jobs_;
    std::unique_ptr<HttpServer> http_;
};

}  // namespace lumen::admind

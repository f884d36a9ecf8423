// What request handlers work with: the process's long-lived parts, made once in serve.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "admind/catalogue/catalogue_publisher.h"
#include "admind/catalogue/endpoint_states.h"
#include "admind/ledger/ledger_book.h"
#include "admind/settings/config_file.h"
#include "admind/settings/live_settings.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"

namespace lumen::admind {

class Leader;
class LedgerJobs;
class NoticeSender;
class RecentRequests;
class RemotePages;
class OidcProvider;
struct JobStatus;

struct Services {
    LiveSettings& settings;
    PgPool& postgres;
    RedisPool& redis;
    LedgerBook& ledger;
    CataloguePublisher& publisher;
    EndpointStates& endpoints;
    const LedgerJobs* ledger_jobs = nullptr;  ///< of the daemon; the command line has none
    const Leader* leader = nullptr;           ///< likewise
    std::function<std::vector<JobStatus>()> other_jobs{};
    RemotePages* remote_pages = nullptr;  ///< likewise
    RecentRequests* recent_requests = nullptr;
    OidcProvider* oidc = nullptr;                ///< as ledger_jobs
    ConfigFile* config = nullptr;                ///< of the daemon
    const NoticeSender* notices = nullptr;       ///< as ledger_jobs
    const std::atomic<bool>* leaving = nullptr;  ///< likewise: it is about to stop
};

}  // namespace lumen::admind

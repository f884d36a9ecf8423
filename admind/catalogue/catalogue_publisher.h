// Publishes the catalogue: what the book says about models, prices, endpoints and policies, as one versioned document
// that every gate reads (design.md §3, lumen_core/catalogue.h).
#pragma once

#include <map>
#include <mutex>
#include <pqxx/pqxx>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "admind/settings/live_settings.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "admind/text/json.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

/// Addresses of model servers, resolved here so that no gate ever waits for DNS. Thread-safe.
class EndpointAddresses {
 public:
    /// "127.0.0.1:8000", "[::1]:8000": sorted. An unknown host is asked for now; if that fails, none.
    std::vector<std::string> of(const std::string& url);
    /// Asks again for every host in use. A name server that is away costs nothing: the old answers stay.
    void refresh();

 private:
    std::mutex mutex_;
    std::map<std::string, std::vector<std::string>> known_;
};

class CataloguePublisher {
 public:
    CataloguePublisher(LiveSettings& settings, PgPool& postgres, RedisPool& redis);

    /// Writes and announces the document if it differs from the one in Redis, also when that was lost. True: it did.
    /// Any number of admind may call at once: a lock in the book keeps versions in order. Throws DatabaseUnavailable,
    /// RedisUnavailable, pqxx::failure.
    bool publish();

    /// Before an account or key may name it: in the document that is in Redis.
    void ensure_published(PolicyId policy);

    /// Asks the name servers again; follow it by publish().
    void refresh_addresses() { addresses_.refresh(); }

 private:
    Json document(pqxx::transaction_base& transaction, std::set<PolicyId>& policies);

    LiveSettings& settings_;
    PgPool& postgres_;
    RedisPool& redis_;
    EndpointAddresses addresses_;
    std::mutex mutex_;
    std::set<PolicyId> published_;
};

}  // namespace lumen::admind

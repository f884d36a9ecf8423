// Watches that every bucket is in service for the master that is there now, and puts back those that are not.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "admind/ledger/bucket_ready.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

inline constexpr int kBucketsAtOnce = 8;

struct BucketReport {
    Bucket bucket = 0;
    BucketOutcome outcome;
    std::string error;  ///< of an attempt that ended by an exception
};

/// check() belongs to one thread; not_ready() may be asked by any.
class BucketReadiness {
 public:
    BucketReadiness(PgPool& postgres, std::string redis_url, std::chrono::milliseconds redis_timeout,
                    std::string spool_directory);

    /// One look; what had to be done, empty if all are ready. Throws RedisUnavailable.
    std::vector<BucketReport> check();
    /// Buckets out of service at the last look; all of them while Redis cannot be asked.
    int not_ready() const;

 private:
    std::vector<Bucket> find_unready(const ReplicationIds& ids);
    void add_forgotten_by_the_book(std::vector<Bucket>& unready, const ReplicationIds& ids);
    void note_masters(const ReplicationIds& ids);
    bool may_serve(Bucket bucket, std::chrono::steady_clock::time_point now) const;
    std::vector<BucketReport> make_ready(const std::vector<Bucket>& buckets);

    PgPool& postgres_;
    std::string redis_url_;
    std::chrono::milliseconds redis_timeout_;
    std::string spool_directory_;
    RedisLink redis_;
    ReplicationIds masters_;  ///< at the last look
    /// By replication id, of masters that were promoted: an old one may still take writes until then.
    std::map<std::string, std::chrono::steady_clock::time_point> not_before_;
    std::map<Bucket, std::chrono::steady_clock::time_point> blocked_until_;
    mutable std::mutex mutex_;
    int not_ready_ = kBuckets;
};

}  // namespace lumen::admind

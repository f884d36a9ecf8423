// The ledger's jobs of one admind: which there are, how often they run, and what /metrics says of them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "admind/ledger/bucket_readiness.h"
#include "admind/ledger/hold_reaper.h"
#include "admind/ledger/ledger_book.h"
#include "admind/ledger/ledger_sync.h"
#include "admind/ledger/periodic_job.h"
#include "admind/ledger/refill_job.h"
#include "admind/stores/leader.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"

namespace lumen::admind {

struct LedgerJobsSettings {
    std::string database_url;
    std::string redis_url;
    std::chrono::milliseconds redis_timeout{1000};
    std::chrono::milliseconds trim_after{std::chrono::minutes(10)};
    std::chrono::milliseconds reap_after_ready{kReapAfterReady};
    std::string spool_directory;  ///< where events of a foreign epoch are kept; must exist
};

/// A snapshot for /metrics, /readyz and the admin page.
struct LedgerMetrics {
    double lag_seconds = 0;    ///< lumen_ledger_lag_seconds: age of the oldest event not yet in the book
    std::int64_t pending = 0;  ///< lumen_ledger_pending: events not yet in the book
    std::uint64_t drained = 0;
    std::uint64_t refills = 0;        ///< lumen_refills_total
    std::uint64_t holds_expired = 0;  ///< lumen_holds_expired_total
    NanoCoins drift;                  ///< lumen_reconcile_drift_coins: Σ of what the last pass found
    std::size_t drift_accounts = 0;   ///< lumen_reconcile_drift_accounts: how many these are
    int buckets_not_ready = 0;
    bool leading = false;          ///< lumen_leader: this process runs the jobs that one process runs
    std::size_t not_in_force = 0;  ///< accounts and keys that Redis still has to be told
    std::vector<std::string> redis_findings;
    std::vector<std::string> alarms;  ///< buckets that stand still, drift, broken rules: an operator must look
    std::vector<JobStatus> jobs;
};

class LedgerJobs {
 public:
    /// `book` and `leader` are shared with the rest of the process; the leader is ticked here.
    LedgerJobs(LedgerJobsSettings settings, LedgerBook& book, Leader& leader);
    ~LedgerJobs();

    /// Works also while Redis or Postgres are still down.
    void start();
    /// Commits the batch under way, then returns.
    void stop();
    LedgerMetrics metrics() const;

 private:
    void make_jobs();
    void drain();
    void watch_readiness();
    void repeat_unfinished();
    void refill();
    void reap();
    void reconcile();
    void watch_drift(Bucket bucket);
    void check_redis();
    void look_for_strangers();
    void check_rules_nightly();
    void measure();
    void raise(const std::string& topic, std::vector<std::string> alarms);

    const LedgerJobsSettings settings_;
    PgPool postgres_;
    LedgerBook& book_;
    Leader& leader_;

    // One link a thread: a RedisLink is not shared.
    LedgerSync sync_;
    BucketReadiness readiness_;
    RedisLink config_redis_;
    RedisLink refill_redis_;
    RedisLink reap_redis_;
    RedisLink check_redis_;
    RedisLink last_used_redis_;
    RedisLink measure_redis_;
    RedisLink trim_redis_;
    RefillJob refill_job_;
    HoldReaper reaper_;

    std::chrono::steady_clock::time_point next_trim_{};
    std::chrono::steady_clock::time_point next_money_look_{};
    int next_config_bucket_ = 0;
    int next_reconcile_bucket_ = 0;
    std::int64_t rules_checked_day_ = -1;
    std::int64_t strangers_checked_term_ = 0;

    std::atomic<std::uint64_t> drained_{0};
    std::atomic<std::uint64_t> refills_{0};
    std::atomic<std::uint64_t> holds_expired_{0};
    std::atomic<std::int64_t> pending_{0};
    std::atomic<std::int64_t> oldest_pending_ms_{0};  ///< 0: nothing is pending
    mutable std::mutex mutex_;
    std::map<AccountId, std::int64_t> drift_;
    std::vector<std::string> redis_findings_;
    std::map<std::string, std::vector<std::string>> alarms_;  ///< by what raised them; replaced when it looks again

    std::vector<std::unique_ptr<PeriodicJob>>
        jobs_;  ///< complete from the constructor on: metrics() may come before start()
};

}  // namespace lumen::admind

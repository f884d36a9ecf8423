#include "admind/ledger/jobs.h"

#include <Poco/Logger.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "admind/ledger/book_rules.h"
#include "admind/ledger/last_used_job.h"
#include "admind/ledger/reconcile_job.h"
#include "admind/ledger/redis_settings.h"
#include "admind/ledger/redis_strangers.h"
#include "admind/ledger/retention_job.h"
#include "admind/ledger/stream_trim.h"

namespace lumen::admind {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Eight rebuilds at once, a drainer's transactions, and one for each other job that may need the book at the same time.
constexpr std::size_t kConnections = kBucketsAtOnce + kTransactionsAtOnce + 7;
constexpr milliseconds kConnectionWait{5000};

constexpr milliseconds kListen{500};     ///< how long stop() may have to wait for an idle drainer
constexpr milliseconds kBatchPause{20};  ///< lets events gather: ten transactions of 100 cost more than one of 1000
constexpr milliseconds kIdlePause{100};  ///< woken for nothing: the buckets are somebody else's, or not ready
constexpr auto kTrimInterval = seconds(60);
constexpr auto kMoneyLookInterval = seconds(10);
constexpr int kConfigBucketsPerSecond = 5;     ///< all 256 within a minute
constexpr int kReconcileBucketsPerSecond = 5;  ///< likewise

std::int64_t unix_ms() {
    return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// A pipeline that is left by an exception must not answer the next one's questions.
template <class Work>
std::function<void()> with(RedisLink& redis, Work work) {
    return [&redis, work] {
        try {
            work();
        } catch (...) {
            redis.drop();
            throw;
        }
    };
}

void log_report(const BucketReport& report) {
    Poco::Logger& log = Poco::Logger::get("readiness");
    const std::string bucket = "bucket=" + std::to_string(report.bucket);
    if (!report.error.empty()) {
        log.error(bucket + " not ready: " + report.error);
        return;
    }
    const BucketOutcome& outcome = report.outcome;
    switch (outcome.state) {
        case BucketState::interrupted:
            log.warning(bucket + " not ready yet: " + outcome.reason);
            break;
        case BucketState::rebuilt:
            log.notice(bucket + " rebuilt: " + outcome.reason + " holds_kept=" + std::to_string(outcome.holds_kept) +
                       " holds_dropped=" + std::to_string(outcome.holds_dropped) +
                       " foreign_events=" + std::to_string(outcome.foreign_events));
            break;
        case BucketState::blocked:  // an alarm
        case BucketState::ready:
        case BucketState::was_ready:
            break;
    }
}

}  // namespace

LedgerJobs::LedgerJobs(LedgerJobsSettings settings, LedgerBook& book, Leader& leader)
    : settings_(std::move(settings)),
      postgres_(settings_.database_url, kConnections, kConnectionWait),
      book_(book),
      leader_(leader),
      sync_(postgres_, settings_.redis_url, settings_.redis_timeout, book),
      readiness_(postgres_, settings_.redis_url, settings_.redis_timeout, settings_.spool_directory),
      config_redis_(settings_.redis_url, settings_.redis_timeout),
      refill_redis_(settings_.redis_url, settings_.redis_timeout),
      reap_redis_(settings_.redis_url, settings_.redis_timeout),
      check_redis_(settings_.redis_url, settings_.redis_timeout),
      last_used_redis_(settings_.redis_url, settings_.redis_timeout),
      measure_redis_(settings_.redis_url, settings_.redis_timeout),
      trim_redis_(settings_.redis_url, settings_.redis_timeout),
      refill_job_(postgres_, refill_redis_),
      reaper_(reap_redis_, settings_.reap_after_ready) {
    make_jobs();
}

LedgerJobs::~LedgerJobs() {
    stop();
}

void LedgerJobs::make_jobs() {
    const auto add = [this](const char* name, milliseconds interval, std::function<void()> run) {
        jobs_.push_back(std::make_unique<PeriodicJob>(name, interval, std::move(run)));
    };
    add("leader", seconds(1), [this] { leader_.tick(); });
    add("readiness", seconds(1), [this] { watch_readiness(); });
    add("drain", milliseconds(0), [this] { drain(); });
    add("repeat", seconds(1), with(config_redis_, [this] { repeat_unfinished(); }));
    add("refill", seconds(1), with(refill_redis_, [this] { refill(); }));
    add("reap", seconds(5), with(reap_redis_, [this] { reap(); }));
    add("reconcile", seconds(1), with(check_redis_, [this] { reconcile(); }));
    add("measure", seconds(1), with(measure_redis_, [this] { measure(); }));
    add("last_used", seconds(60), with(last_used_redis_, [this] {
            if (leader_.is_leader()) copy_last_used(postgres_, last_used_redis_);
        }));
    add("strangers", seconds(1), [this] { look_for_strangers(); });
    add("redis_settings", seconds(60), [this] { check_redis(); });
    // Each admind: the next month's partition must be there whoever leads.
    add("partitions", std::chrono::hours(1), [this] { create_partitions(postgres_); });
    add("retention", std::chrono::hours(1), [this] {
        if (leader_.is_leader()) keep_retention(postgres_, {});
    });
    add("book_rules", std::chrono::minutes(10), [this] { check_rules_nightly(); });
}

void LedgerJobs::start() {
    for (const auto& job : jobs_) job->start();
}

void LedgerJobs::stop() {
    for (const auto& job : jobs_) job->stop();
}

void LedgerJobs::drain() {
    try {
        // What is held back for open pages must not wait for the next event (E2).
        const DrainResult result =
            sync_.drain(sync_.live_waiting() ? std::chrono::duration_cast<milliseconds>(kLiveInterval) : kListen);
        drained_ += result.events;
        raise("drain", sync_.standing_still());
        sync_.publish_live();
        if (result.events > 0 && !result.full) std::this_thread::sleep_for(kBatchPause);
        if (result.woken_for_nothing) std::this_thread::sleep_for(kIdlePause);
        const auto now = std::chrono::steady_clock::now();
        if (now >= next_trim_) {
            next_trim_ = now + kTrimInterval;
            trim_streams(postgres_, trim_redis_, settings_.trim_after);
        }
    } catch (...) {
        trim_redis_.drop();
        std::this_thread::sleep_for(kIdlePause);
        throw;
    }
}

void LedgerJobs::watch_readiness() {
    const std::vector<BucketReport> reports = readiness_.check();
    std::size_t rebuilt = 0;
    std::vector<std::string> blocked;
    for (const BucketReport& report : reports) {
        log_report(report);
        if (report.outcome.state == BucketState::rebuilt) ++rebuilt;
        if (report.outcome.state == BucketState::blocked) {
            blocked.push_back("bucket=" + std::to_string(report.bucket) + " out of service: " + report.outcome.reason +
                              "; see `lumen-admind rebuild`");
        }
    }
    if (!reports.empty()) {
        raise("readiness", std::move(blocked));
        Poco::Logger::get("readiness")
            .notice("buckets=" + std::to_string(reports.size()) + " rebuilt=" + std::to_string(rebuilt) +
                    " not_ready=" + std::to_string(readiness_.not_ready()));
    }
}

void LedgerJobs::repeat_unfinished() {
    book_.repeat_unfinished();
    const auto now = std::chrono::steady_clock::now();
    if (now >= next_money_look_) {
        next_money_look_ = now + kMoneyLookInterval;
        book_.send_all_pending_money();
    }
    // The first round is step 3 at admind's own start, and done at once; later ones are spread over a minute.
    const int buckets = next_config_bucket_ < kBuckets ? kBuckets : kConfigBucketsPerSecond;
    std::vector<std::string> ahead;
    for (int i = 0; i < buckets; ++i) {
        const auto bucket = static_cast<Bucket>(next_config_bucket_++ % kBuckets);
        const ConfigRepeat repeat = [&] {
            try {
                return repeat_bucket_config(postgres_, config_redis_, bucket);
            } catch (const RedisUnavailable&) {
                // One node of a Cluster: its buckets are told when they are put back into service.
                if (!config_redis_.clustered()) throw;
                config_redis_.drop();
                return ConfigRepeat{};
            }
        }();
        if (repeat.ahead.empty()) continue;
        ahead.push_back("bucket=" + std::to_string(bucket) + " taken out of service: redis is ahead of the book in " +
                        repeat.ahead);
    }
    if (!ahead.empty()) raise("config", std::move(ahead));
}

void LedgerJobs::refill() {
    if (leader_.is_leader()) refills_ += static_cast<std::uint64_t>(refill_job_.run());
}

void LedgerJobs::reap() {
    if (leader_.is_leader()) holds_expired_ += static_cast<std::uint64_t>(reaper_.run());
}

void LedgerJobs::reconcile() {
    if (!leader_.is_leader()) return;
    for (int i = 0; i < kReconcileBucketsPerSecond; ++i) {
        watch_drift(static_cast<Bucket>(next_reconcile_bucket_++ % kBuckets));
    }
}

void LedgerJobs::watch_drift(Bucket bucket) {
    const std::vector<Drift> drifts = reconcile_bucket(postgres_, check_redis_, bucket);
    std::vector<std::string> found;
    for (const Drift& drift : drifts) {
        found.push_back("drift: account=" + std::to_string(drift.account) + " " + drift.what);
    }
    raise("reconcile.bucket" + std::to_string(bucket), std::move(found));
    std::lock_guard lock(mutex_);
    for (auto it = drift_.begin(); it != drift_.end();) {
        it = account_bucket(it->first) == bucket ? drift_.erase(it) : std::next(it);
    }
    for (const Drift& drift : drifts) drift_[drift.account] = drift.amount.nano();
}

void LedgerJobs::check_redis() {
    RedisLink redis(settings_.redis_url, settings_.redis_timeout);
    std::vector<std::string> findings;
    redis.each_master([&](RedisLink& master) {
        for (std::string& finding : check_redis_settings(master)) {
            if (std::find(findings.begin(), findings.end(), finding) == findings.end()) {
                findings.push_back(std::move(finding));
            }
        }
    });
    std::lock_guard lock(mutex_);
    // Said when it changes, and again at the next start.
    if (findings != redis_findings_) {
        for (const std::string& finding : findings) Poco::Logger::get("redis_settings").warning(finding);
    }
    redis_findings_ = std::move(findings);
}

/// Once a lead: a database that was restored from a backup has lost its leader too.
void LedgerJobs::look_for_strangers() {
    const std::int64_t term = leader_.term();
    if (term == 0 || term == strangers_checked_term_) return;
    RedisLink redis(settings_.redis_url, settings_.redis_timeout);
    const Strangers strangers = find_strangers(postgres_, redis);
    std::vector<std::string> alarms;
    if (!strangers.empty()) {
        skip_ids(postgres_, strangers);
        alarms.push_back(
            "redis has " + std::to_string(strangers.accounts.size()) + " accounts and " +
            std::to_string(strangers.keys.size()) +
            " keys that the book does not know: was it restored from a backup? See `lumen-admind rebuild`");
    }
    raise("strangers", std::move(alarms));
    strangers_checked_term_ = term;
}

void LedgerJobs::check_rules_nightly() {
    constexpr std::int64_t kHourMs = 3'600'000;
    constexpr std::int64_t kQuietHour = 3;  // UTC
    const std::int64_t hour = unix_ms() / kHourMs;
    if (hour % 24 != kQuietHour || rules_checked_day_ == hour / 24 || !leader_.is_leader()) return;
    auto connection = postgres_.acquire();
    pqxx::work transaction(*connection);
    std::vector<std::string> findings = check_book(transaction);
    rules_checked_day_ = hour / 24;
    raise("book_rules", std::move(findings));
}

void LedgerJobs::measure() {
    const Backlog backlog = measure_backlog(postgres_, measure_redis_);
    pending_ = backlog.events;
    oldest_pending_ms_ = backlog.oldest_at_ms;
}

void LedgerJobs::raise(const std::string& topic, std::vector<std::string> alarms) {
    std::lock_guard lock(mutex_);
    std::vector<std::string>& known = alarms_[topic];
    // Each once, not every time that it is looked at.
    for (const std::string& alarm : alarms) {
        if (std::find(known.begin(), known.end(), alarm) == known.end()) Poco::Logger::get(topic).critical(alarm);
    }
    known = std::move(alarms);
}

LedgerMetrics LedgerJobs::metrics() const {
    LedgerMetrics metrics;
    metrics.drained = drained_;
    metrics.refills = refills_;
    metrics.holds_expired = holds_expired_;
    metrics.pending = pending_;
    const std::int64_t oldest = oldest_pending_ms_;
    metrics.lag_seconds = oldest > 0 ? static_cast<double>(std::max<std::int64_t>(0, unix_ms() - oldest)) / 1000 : 0;
    metrics.buckets_not_ready = readiness_.not_ready();
    metrics.leading = leader_.is_leader();
    metrics.not_in_force = book_.unfinished();
    for (const auto& job : jobs_) metrics.jobs.push_back(job->status());
    std::lock_guard lock(mutex_);
    std::int64_t drift = 0;
    for (const auto& [account, amount] : drift_) drift += amount;
    metrics.drift = NanoCoins(drift);
    metrics.drift_accounts = drift_.size();
    metrics.redis_findings = redis_findings_;
    for (const auto& [topic, alarms] : alarms_) {
        metrics.alarms.insert(metrics.alarms.end(), alarms.begin(), alarms.end());
    }
    return metrics;
}

}  // namespace lumen::admind

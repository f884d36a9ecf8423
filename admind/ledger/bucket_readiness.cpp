#include "admind/ledger/bucket_readiness.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

namespace lumen::admind {

namespace {

/// A bucket that only a person can mend is looked at again after this.
constexpr auto kBlockedRetry = std::chrono::seconds(10);

/// A master that was a replica before knows the id it had then; one that never was has zeros.
bool was_promoted(std::string_view info_replication) {
    return info_replication.find("\nmaster_replid2:0000000000000000000000000000000000000000") == std::string_view::npos;
}

std::chrono::seconds configured_seconds(RedisLink& redis, std::string_view name) {
    const RedisReply reply = redis.command({"CONFIG", "GET", name});
    if (reply->elements < 2) return std::chrono::seconds(0);
    return std::chrono::seconds(std::stol(std::string(reply_text(reply->element[1]))));
}

}  // namespace

BucketReadiness::BucketReadiness(PgPool& postgres, std::string redis_url, std::chrono::milliseconds redis_timeout,
                                 std::string spool_directory)
    : postgres_(postgres),
      redis_url_(redis_url),
      redis_timeout_(redis_timeout),
      spool_directory_(std::move(spool_directory)),
      redis_(std::move(redis_url), redis_timeout) {}

int BucketReadiness::not_ready() const {
    std::lock_guard lock(mutex_);
    return not_ready_;
}

std::vector<Bucket> BucketReadiness::find_unready(const ReplicationIds& ids) {
    for (int i = 0; i < kBuckets; ++i) redis_.append({"HGET", bucket_key(static_cast<Bucket>(i), "meta"), "ready"});
    std::vector<Bucket> unready;
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        const RedisReply token = redis_.next_of_any();
        const std::string& id = ids[bucket];
        if (id.empty() || reply_text(token.get()).substr(0, id.size()) != id) unready.push_back(bucket);
    }
    return unready;
}

/// A book that lost its last commits may not know this master any more: nothing would be drained from it.
void BucketReadiness::add_forgotten_by_the_book(std::vector<Bucket>& unready, const ReplicationIds& ids) {
    try {
        auto connection = postgres_.acquire();
        pqxx::read_transaction transaction(*connection);
        for (const auto& row : transaction.exec("select bucket, source from stream_positions")) {
            const auto bucket = static_cast<Bucket>(row[0].as<int>());
            if (row[1].as<std::string>() == ids[bucket]) continue;
            if (std::find(unready.begin(), unready.end(), bucket) == unready.end()) unready.push_back(bucket);
        }
    } catch (const std::exception&) {
        // Without a book nothing can be put into service, and what is in service stays so.
    }
}

/// After a promotion the old master may take writes until it misses its replicas (min-replicas-max-lag).
void BucketReadiness::note_masters(const ReplicationIds& ids) {
    const auto now = std::chrono::steady_clock::now();
    for (int i = 0; i < kBuckets; ++i) {
        const auto bucket = static_cast<Bucket>(i);
        const std::string& id = ids[bucket];
        if (id.empty() || std::find(masters_.begin(), masters_.end(), id) != masters_.end() ||
            not_before_.count(id) > 0) {
            continue;
        }
        auto not_before = now;
        const RedisReply info = redis_.at(bucket).command({"INFO", "replication"});
        if (was_promoted(reply_text(info.get())) && configured_seconds(redis_, "min-replicas-to-write").count() > 0) {
            not_before += configured_seconds(redis_, "min-replicas-max-lag") + std::chrono::seconds(1);
        }
        not_before_[id] = not_before;
    }
    masters_ = ids;
    for (auto it = not_before_.begin(); it != not_before_.end();) {
        const bool gone = std::find(ids.begin(), ids.end(), it->first) == ids.end();
        it = gone ? not_before_.erase(it) : std::next(it);
    }
}

bool BucketReadiness::may_serve(Bucket bucket, std::chrono::steady_clock::time_point now) const {
    const auto not_before = not_before_.find(masters_[bucket]);
    return !masters_[bucket].empty() && (not_before == not_before_.end() || not_before->second <= now);
}

std::vector<BucketReport> BucketReadiness::make_ready(const std::vector<Bucket>& buckets) {
    std::vector<BucketReport> reports(buckets.size());
    const auto each = [&](const auto& do_one) {
        std::atomic<std::size_t> next{0};
        const auto work = [&] {
            RedisLink redis(redis_url_, redis_timeout_);
            for (std::size_t i = next++; i < reports.size(); i = next++) {
                try {
                    do_one(redis, reports[i]);
                } catch (const std::exception& error) {
                    reports[i].error = error.what();
                    redis.drop();
                }
            }
        };
        std::vector<std::thread> workers;
        for (std::size_t i = 1; i < std::min<std::size_t>(kBucketsAtOnce, reports.size()); ++i) {
            workers.emplace_back(work);
        }
        work();
        for (std::thread& worker : workers) worker.join();
    };
    for (std::size_t i = 0; i < buckets.size(); ++i) reports[i].bucket = buckets[i];
    each([&](RedisLink& redis, BucketReport& report) {
        report.outcome = make_bucket_ready(postgres_, redis, report.bucket, spool_directory_);
    });
    // First all serve, then they get what is due.
    each([](RedisLink& redis, BucketReport& report) { credit_refills(redis, report.outcome.refilled); });
    return reports;
}

std::vector<BucketReport> BucketReadiness::check() {
    std::vector<Bucket> unready;
    try {
        const ReplicationIds ids = redis_.replication_ids();
        if (ids == ReplicationIds{}) throw RedisUnavailable("redis: the server is a replica");
        note_masters(ids);
        unready = find_unready(ids);
        add_forgotten_by_the_book(unready, ids);
    } catch (...) {
        redis_.drop();
        std::lock_guard lock(mutex_);
        not_ready_ = kBuckets;
        throw;
    }
    const auto now = std::chrono::steady_clock::now();
    std::vector<Bucket> todo;
    for (Bucket bucket : unready) {
        const auto blocked = blocked_until_.find(bucket);
        const bool blocked_still = blocked != blocked_until_.end() && blocked->second > now;
        if (!blocked_still && may_serve(bucket, now)) todo.push_back(bucket);
    }
    std::vector<BucketReport> reports;
    if (!todo.empty()) reports = make_ready(todo);
    int left = static_cast<int>(unready.size());
    for (const BucketReport& report : reports) {
        blocked_until_.erase(report.bucket);
        if (!report.error.empty()) continue;
        const BucketState state = report.outcome.state;
        if (state == BucketState::blocked) blocked_until_[report.bucket] = now + kBlockedRetry;
        if (state != BucketState::blocked && state != BucketState::interrupted) --left;
    }
    std::lock_guard lock(mutex_);
    not_ready_ = left;
    return reports;
}

}  // namespace lumen::admind

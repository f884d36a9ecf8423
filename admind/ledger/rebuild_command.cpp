#include "admind/ledger/rebuild_command.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <thread>
#include <vector>

#include "admind/bounds.h"
#include "admind/ledger/bucket_decision.h"
#include "admind/ledger/bucket_readiness.h"
#include "admind/ledger/redis_strangers.h"

namespace lumen::admind {

namespace {

constexpr std::chrono::milliseconds kPause{200};
/// After a promotion nothing may be put into service for min-replicas-max-lag; interrupted ones are tried again.
constexpr int kRounds = 100;

std::string name_of(Bucket bucket) {
    return "bucket " + std::to_string(bucket);
}

/// What was done about all buckets together.
struct Totals {
    std::size_t buckets = 0;
    std::size_t failed = 0;
    DecisionOutcome sum;
};

void print_decision(Bucket bucket, const std::string& reason, const DecisionOutcome& outcome, Totals& totals) {
    std::string result = "rebuilt";
    if (!outcome.failure.empty()) result = "NOT decided: " + outcome.failure;
    if (!outcome.left_to_another.empty()) result = "rebuilt, in service after another look: " + outcome.left_to_another;
    std::cout << name_of(bucket) << ": " << (reason.empty() ? "by request" : reason) << ": " << result << "\n";
    ++totals.buckets;
    if (!outcome.failure.empty()) ++totals.failed;
    totals.sum.events_booked += outcome.events_booked;
    totals.sum.adjusted += outcome.adjusted;
    totals.sum.adjusted_by = NanoCoins(totals.sum.adjusted_by.nano() + outcome.adjusted_by.nano());
    totals.sum.events_saved += outcome.events_saved;
    totals.sum.kept_shut += outcome.kept_shut;
}

/// Decides every bucket that needs it, a few at a time; false if some could not be.
bool decide(PgPool& postgres, const Settings& settings, const RebuildOptions& options) {
    const TrustedStore trusted = options.from == "redis" ? TrustedStore::redis : TrustedStore::book;
    std::atomic<int> next{0};
    std::mutex printing;
    Totals totals;
    const auto work = [&] {
        RedisLink redis(settings.redis_url, kRedisTimeout);
        for (int i = next++; i < kBuckets; i = next++) {
            const auto bucket = static_cast<Bucket>(i);
            std::string reason;
            DecisionOutcome outcome;
            try {
                reason = find_contradiction(postgres, redis, bucket);
                if (reason.empty() && !options.all) continue;
                outcome = decide_bucket(postgres, redis, bucket, trusted, options.spool, options.actor);
            } catch (const std::exception& error) {
                outcome.failure = error.what();
                redis.drop();
            }
            const std::lock_guard lock(printing);
            print_decision(bucket, reason, outcome, totals);
        }
    };
    std::vector<std::thread> workers;
    for (int i = 1; i < kBucketsAtOnce; ++i) workers.emplace_back(work);
    work();
    for (std::thread& worker : workers) worker.join();
    std::cout << "decided for " << options.from << ": buckets " << totals.buckets << ", events booked "
              << totals.sum.events_booked << ", accounts adjusted " << totals.sum.adjusted << " by "
              << format_coins(totals.sum.adjusted_by) << " coins, events saved in " << options.spool << " "
              << totals.sum.events_saved << ", keys and accounts kept shut " << totals.sum.kept_shut << "\n";
    return totals.failed == 0;
}

void remove_what_the_book_does_not_know(PgPool& postgres, const Settings& settings) {
    RedisLink redis(settings.redis_url, kRedisTimeout);
    const Strangers strangers = find_strangers(postgres, redis);
    if (strangers.empty()) return;
    skip_ids(postgres, strangers);
    for (const std::string& line : remove_strangers(redis, strangers)) std::cout << line << "\n";
}

/// All that needs no decision, as the daemon does it.
bool put_all_into_service(PgPool& postgres, const Settings& settings, const std::string& spool) {
    BucketReadiness readiness(postgres, settings.redis_url, kRedisTimeout, spool);
    std::size_t rebuilt = 0;
    std::size_t ready = 0;
    std::vector<std::string> blocked;
    for (int round = 0; round < kRounds; ++round) {
        for (const BucketReport& report : readiness.check()) {
            if (report.outcome.state == BucketState::rebuilt) ++rebuilt;
            if (report.outcome.state == BucketState::ready) ++ready;
            if (report.outcome.state == BucketState::blocked) {
                blocked.push_back(name_of(report.bucket) + ": " + report.outcome.reason);
            }
        }
        if (readiness.not_ready() == static_cast<int>(blocked.size())) break;
        std::this_thread::sleep_for(kPause);
    }
    for (const std::string& line : blocked) std::cout << line << "\n";
    std::cout << "rebuilt " << rebuilt << ", found whole " << ready << ", not in service " << readiness.not_ready()
              << "\n";
    if (!blocked.empty()) {
        std::cout << "Decide which store is right, see docs/operations.md: lumen-admind rebuild --from redis|book\n";
    }
    return readiness.not_ready() == 0;
}

}  // namespace

int run_rebuild(const Settings& settings, const RebuildOptions& options) {
    const auto begin = std::chrono::steady_clock::now();
    PgPool postgres(settings.app.database_url, kBucketsAtOnce + 2, settings.app.database_pool_timeout);
    bool done = true;
    if (!options.from.empty()) {
        done = decide(postgres, settings, options);
        remove_what_the_book_does_not_know(postgres, settings);
    }
    done = put_all_into_service(postgres, settings, options.spool) && done;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    std::printf("%.1f s\n", elapsed.count());
    return done ? 0 : 1;
}

}  // namespace lumen::admind

// The jobs together, as lumen-admind runs them: fast, by themselves, and back after an outage.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "admind/ledger/jobs.h"
#include "admind/ledger/last_used_job.h"
#include "admind/ledger/reconcile_job.h"
#include "admind/ledger/redis_settings.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class LedgerJobsTest : public PrivateLedger {
 public:
    LedgerJobsSettings settings() {
        LedgerJobsSettings settings;
        settings.database_url = database;
        settings.redis_url = server.url();
        settings.spool_directory = spool.path();
        settings.reap_after_ready = std::chrono::milliseconds(0);
        return settings;
    }
    void wait_until_ready(const LedgerJobs& jobs) {
        wait_until("all buckets are ready", [&] { return jobs.metrics().buckets_not_ready == 0; });
    }
};

TEST_F(LedgerJobsTest, an_event_is_in_the_book_within_half_a_second) {
    Leader leader(database);
    LedgerJobs jobs(settings(), book, leader);
    jobs.start();
    wait_until_ready(jobs);
    const Account account = new_account(coins(5));
    const std::string spent = "select spent from account_balances where account_id = " + std::to_string(account.id);
    // The median of nine; of several, as the machine may be at something else for a while.
    std::int64_t charges = 0;
    std::int64_t best_ms = std::numeric_limits<std::int64_t>::max();
    for (int tries = 0; tries < 5 && best_ms >= 500; ++tries) {
        std::vector<std::int64_t> taken_ms;
        for (int i = 0; i < 9; ++i) {
            const auto begin = std::chrono::steady_clock::now();
            charge(account, NanoCoins(1));
            ++charges;
            wait_until("the charge is in the book", [&] { return number(spent) == charges; });
            taken_ms.push_back(
                std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin)
                    .count());
        }
        std::nth_element(taken_ms.begin(), taken_ms.begin() + 4, taken_ms.end());
        best_ms = std::min(best_ms, taken_ms[4]);
    }
    EXPECT_LT(best_ms, 500);
    wait_until("nothing is pending", [&] {
        const LedgerMetrics now = jobs.metrics();
        return now.pending == 0 && now.lag_seconds == 0 &&
               now.drained == static_cast<std::uint64_t>(charges) + 1;  // the grant
    });
    jobs.stop();
}

TEST_F(LedgerJobsTest, pages_are_told_at_most_four_times_a_second_and_told_the_last_state) {
    Leader leader(database);
    LedgerJobs jobs(settings(), book, leader);
    jobs.start();
    wait_until_ready(jobs);
    const Account account = new_account(coins(5));
    // Not a RedisLink: that takes an unasked-for message for a server that is going away.
    const std::unique_ptr<redisContext, decltype(&redisFree)> page(
        redisConnectUnixWithTimeout(server.socket().c_str(), {5, 0}), &redisFree);
    ASSERT_EQ(redisSetTimeout(page.get(), {10, 0}), REDIS_OK);
    freeReplyObject(redisCommand(page.get(), "SUBSCRIBE lumen:live:%lld", static_cast<long long>(account.id)));
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < 40; ++i) charge(account, NanoCoins(1));
    int messages = 0;
    std::string text;
    while (text.find(R"("used":"40")") == std::string::npos) {
        void* message = nullptr;
        ASSERT_EQ(redisGetReply(page.get(), &message), REDIS_OK) << "the last one told was " << text;
        const RedisReply owned(static_cast<redisReply*>(message), &freeReplyObject);
        text = std::string(reply_text(owned->element[2]));
        ++messages;
    }
    const auto taken = std::chrono::steady_clock::now() - begin;
    EXPECT_LE(messages, 2 + taken / std::chrono::milliseconds(250));
    EXPECT_NE(text.find(R"("event":"key")"), std::string::npos) << text;
    EXPECT_NE(text.find(R"("requests":40)"), std::string::npos) << text;
    jobs.stop();
}

TEST_F(LedgerJobsTest, all_of_it_comes_back_by_itself_after_redis_restarted) {
    Leader leader(database);
    LedgerJobs jobs(settings(), book, leader);
    jobs.start();
    wait_until_ready(jobs);
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(1));
    server.kill();
    wait_until("it is noticed", [&] { return jobs.metrics().buckets_not_ready == kBuckets; });
    const auto outcome = book.move_money({account.id, MoneyOpKind::add, coins(1), "while down", "root", ""});
    EXPECT_EQ(outcome.result, MoneyResult::recorded);
    server.start();
    wait_until_ready(jobs);
    charge(account, NanoCoins(2));
    wait_until("the grant is in the book",
               [&] { return number("select balance from account_balances") == 6 * kCoin - 3; });
    jobs.stop();
}

TEST_F(LedgerJobsTest, only_one_of_two_leads_and_the_other_takes_over) {
    Leader first(database);
    Leader second(database);
    first.tick();
    second.tick();
    EXPECT_TRUE(first.is_leader());
    EXPECT_FALSE(second.is_leader());
    execute("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted");
    wait_until("the second leads", [&] {
        second.tick();
        return second.is_leader();
    });
    first.tick();
    EXPECT_FALSE(first.is_leader());
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    EXPECT_TRUE(second.holds_term(transaction));
    EXPECT_FALSE(first.holds_term(transaction));
}

TEST_F(LedgerJobsTest, a_deposed_leader_that_does_not_know_it_yet_is_fenced_by_its_term) {
    Leader deposed(database);
    deposed.tick();
    execute("update leadership set term = term + 1");
    EXPECT_TRUE(deposed.is_leader());
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    EXPECT_FALSE(deposed.holds_term(transaction));
}

TEST_F(LedgerJobsTest, dead_holds_are_reaped_and_counted) {
    Leader leader(database);
    LedgerJobs jobs(settings(), book, leader);
    jobs.start();
    wait_until_ready(jobs);
    const Account account = new_account(coins(5));
    ASSERT_EQ(admit(account, new_request(), coins(1), 1), Reply::ok);
    wait_until("the hold is reaped", [&] { return jobs.metrics().holds_expired == 1; });
    EXPECT_EQ(field(account.id, "held"), "0");
    jobs.stop();
}

TEST_F(LedgerJobsTest, drift_is_found_and_not_repaired) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    const Bucket bucket = account_bucket(account.id);
    EXPECT_TRUE(reconcile_bucket(postgres, redis, bucket).empty());
    redis.command({"HINCRBY", account_key(account.id), "bal", "3"});
    redis.command({"HINCRBY", account_key(account.id), "held", "2"});
    const auto drifts = reconcile_bucket(postgres, redis, bucket);
    ASSERT_EQ(drifts.size(), 2u);
    EXPECT_EQ(drifts[0].amount, NanoCoins(3));
    EXPECT_EQ(drifts[1].amount, NanoCoins(2));
    EXPECT_EQ(reconcile_bucket(postgres, redis, bucket).size(), 2u);
    EXPECT_EQ(harness::check_invariants(postgres, redis, running).size(), 2u);
    invariants_hold = false;
}

TEST_F(LedgerJobsTest, undrained_events_and_running_requests_are_no_drift) {
    make_ready();
    running = harness::Running::requests;
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(7));
    ASSERT_EQ(admit(account, new_request(), coins(1)), Reply::ok);
    EXPECT_TRUE(reconcile_bucket(postgres, redis, account_bucket(account.id)).empty());
}

TEST_F(LedgerJobsTest, refused_calls_count_as_use_of_the_key) {
    make_ready();
    const Account account = new_account(coins(0));
    EXPECT_EQ(admit(account, new_request(), coins(1)), Reply::coins);
    EXPECT_EQ(copy_last_used(postgres, redis), 1);
    EXPECT_EQ(copy_last_used(postgres, redis), 0) << "only what is newer";
    EXPECT_EQ(number("select count(*) from key_totals where last_used_at > now() - interval '1 minute'"), 1);
    EXPECT_EQ(number("select requests from key_totals"), 0);
}

TEST_F(LedgerJobsTest, dangerous_redis_settings_are_named) {
    const auto named = [&](const char* setting) {
        std::size_t count = 0;
        for (const std::string& finding : check_redis_settings(redis)) {
            count += finding.find(std::string("set ") + setting + " ") != std::string::npos ? 1 : 0;
        }
        return count;
    };
    EXPECT_EQ(named("appendfsync"), 1u) << "the tests' own server does not sync";
    EXPECT_EQ(named("maxmemory-policy"), 0u);
    redis.command({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"});
    EXPECT_EQ(named("maxmemory-policy"), 1u);
    redis.command({"CONFIG", "SET", "appendfsync", "everysec"});
    EXPECT_EQ(named("appendfsync"), 0u);
    for (const auto& [name, bad] :
         std::initializer_list<std::pair<const char*, const char*>>{{"appendonly", "no"},
                                                                    {"no-appendfsync-on-rewrite", "yes"},
                                                                    {"repl-backlog-ttl", "3600"},
                                                                    {"lazyfree-lazy-server-del", "no"}}) {
        EXPECT_EQ(named(name), 0u);
        redis.command({"CONFIG", "SET", name, bad});
        EXPECT_EQ(named(name), 1u);
    }
}

}  // namespace
}  // namespace lumen::admind

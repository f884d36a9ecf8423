// A master dies and its replica takes over: with WAIT nothing is lost; without it what is lost is seen, and what the
// gates still know is charged once; the old master, if it lives on, is drained by nobody (ledger.md §8, T5, T6).
#include <gtest/gtest.h>

#include <signal.h>

#include <map>
#include <memory>

#include "tests/admind/private_ledger.h"
#include "tests/harness/server_process.h"

namespace lumen::admind {
namespace {

class LedgerFailover : public PrivateLedger {
 public:
    LedgerFailover() {
        const std::string port = std::to_string(harness::free_port());
        redis.command({"CONFIG", "SET", "port", port});
        replica_link.command({"REPLICAOF", "127.0.0.1", port});
        wait_until("the replica is in step", [&] { return replica_says("master_link_status:up"); });
    }
    bool replica_says(const std::string& text) {
        const RedisReply info = replica_link.command({"INFO", "replication"});
        return reply_text(info.get()).find(text) != std::string_view::npos;
    }
    /// What a gate with WAIT in use does before a settle counts as acknowledged.
    bool acknowledged_by_replica() {
        const RedisReply acknowledged = redis.blocking_command({"WAIT", "1", "20000"}, std::chrono::seconds(20));
        return acknowledged->type == REDIS_REPLY_INTEGER && acknowledged->integer >= 1;
    }
    void promote() {
        replica_link.command({"REPLICAOF", "NO", "ONE"});
        ASSERT_TRUE(replica_says("role:master"));
    }
    /// admind and gates after the failover: everything that this fixture does goes to the new master.
    struct Promoted {
        explicit Promoted(LedgerFailover& ledger)
            : links(ledger.replica.url(), 8, std::chrono::seconds(5)),
              book(ledger.postgres, links),
              readiness(ledger.postgres, ledger.replica.url(), std::chrono::seconds(5), ledger.spool.path()),
              sync(ledger.postgres, ledger.replica.url(), std::chrono::seconds(5), book) {
            ledger.redis = RedisLink(ledger.replica.url(), std::chrono::seconds(5));
        }
        RedisPool links;
        LedgerBook book;
        BucketReadiness readiness;
        LedgerSync sync;

        std::map<BucketState, int> make_ready() {
            std::map<BucketState, int> states;
            wait_until("the new master serves", [&] {
                for (const BucketReport& report : readiness.check()) ++states[report.outcome.state];
                return readiness.not_ready() == 0;
            });
            return states;
        }
        std::size_t drain() {
            std::size_t drained = 0;
            for (;;) {
                const DrainResult result = sync.drain(std::chrono::milliseconds(0));
                EXPECT_TRUE(result.alarms.empty());
                if (result.events == 0) return drained;
                drained += result.events;
            }
        }
    };

    harness::RedisServer replica{
        {"--appendfsync", "no", "--port", std::to_string(harness::free_port()), "--repl-diskless-sync-delay", "0"}};
    RedisLink replica_link{replica.url(), std::chrono::seconds(5)};
};

TEST_F(LedgerFailover, what_WAIT_acknowledged_is_there_after_the_failover_and_its_repeat_changes_nothing) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, coins(1)), Reply::ok);
    ASSERT_EQ(settle(account, request, NanoCoins(700)), Reply::ok);
    ASSERT_TRUE(acknowledged_by_replica());
    server.kill();
    promote();
    Promoted now(*this);
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready) << "I10";
    EXPECT_EQ(now.make_ready()[BucketState::ready], kBuckets) << "nothing was lost";
    EXPECT_EQ(settle(account, request, NanoCoins(700)), Reply::dup);
    EXPECT_EQ(now.drain(), 1u);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 700));
}

TEST_F(LedgerFailover, without_WAIT_a_lost_settle_comes_back_from_the_ring_whether_it_was_drained_or_not) {
    make_ready();
    const Account drained = new_account(coins(5));
    const Account not_drained = new_account(coins(5));
    const RequestId first = new_request();
    const RequestId second = new_request();
    ASSERT_EQ(admit(drained, first, coins(1)), Reply::ok);
    ASSERT_EQ(admit(not_drained, second, coins(1)), Reply::ok);
    drain();
    ASSERT_TRUE(acknowledged_by_replica());
    replica_link.command({"REPLICAOF", "127.0.0.1", std::to_string(harness::free_port())});  // cut off, it lags
    ASSERT_EQ(settle(drained, first, NanoCoins(700)), Reply::ok);
    EXPECT_EQ(drain(), 1u);
    ASSERT_EQ(settle(not_drained, second, NanoCoins(800)), Reply::ok);
    server.kill();
    promote();
    Promoted now(*this);
    EXPECT_EQ(now.make_ready()[BucketState::rebuilt], 1) << "the book is ahead in one bucket";
    EXPECT_EQ(field(drained.id, "bal"), std::to_string(5 * kCoin - 700));
    EXPECT_EQ(field(not_drained.id, "bal"), std::to_string(5 * kCoin)) << "lost, and not in the book";
    // The gates see another token, and send again what they have.
    EXPECT_EQ(settle(drained, first, NanoCoins(700)), Reply::late);
    EXPECT_EQ(settle(not_drained, second, NanoCoins(800)), Reply::ok);
    now.drain();
    now.drain();
    EXPECT_EQ(field(drained.id, "bal"), std::to_string(5 * kCoin - 700));
    EXPECT_EQ(field(not_drained.id, "bal"), std::to_string(5 * kCoin - 800));
}

TEST_F(LedgerFailover, an_abandoned_master_that_lives_on_is_drained_by_nobody_and_serves_nobody_anew) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    ASSERT_TRUE(acknowledged_by_replica());
    promote();
    const std::string abandoned_url = server.url();
    Promoted now(*this);
    now.make_ready();
    charge(account, NanoCoins(5));
    EXPECT_EQ(now.drain(), 1u);
    RedisLink abandoned(abandoned_url, std::chrono::seconds(5));
    redis = RedisLink(abandoned_url, std::chrono::seconds(5));
    charge(account, NanoCoins(1'000));  // a gate that did not hear of the failover
    const DrainResult fenced = sync.drain(std::chrono::milliseconds(0));
    EXPECT_EQ(fenced.events, 0u);
    EXPECT_TRUE(fenced.woken_for_nothing);
    redis = RedisLink(replica.url(), std::chrono::seconds(5));
    charge(account, NanoCoins(7));
    EXPECT_EQ(now.drain(), 1u);
    EXPECT_EQ(number("select balance from account_balances"), 5 * kCoin - 12);
}

TEST_F(LedgerFailover, a_promoted_master_waits_until_the_old_one_takes_no_writes_any_more) {
    make_ready();
    replica_link.command({"CONFIG", "SET", "min-replicas-to-write", "1"});
    replica_link.command({"CONFIG", "SET", "min-replicas-max-lag", "2"});
    server.kill();
    promote();
    replica_link.command({"CONFIG", "SET", "min-replicas-to-write", "0"});
    replica_link.command({"CONFIG", "SET", "min-replicas-to-write", "1"});
    Promoted now(*this);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_TRUE(now.readiness.check().empty()) << "the old master may still be written to";
    EXPECT_EQ(now.readiness.not_ready(), kBuckets);
    replica_link.command({"CONFIG", "SET", "min-replicas-to-write", "0"});  // scripts refuse without a replica
    now.make_ready();
    EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(3));
}

TEST_F(LedgerFailover, a_revocation_is_in_force_only_when_a_replica_has_it) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    ::kill(replica.pid(), SIGSTOP);
    EXPECT_EQ(book.revoke_key(account.id, account.key, "root").in_force, InForce::not_yet)
        << "a failover now would forget it";
    ::kill(replica.pid(), SIGCONT);
    wait_until("it is in force", [&] {
        book.repeat_unfinished();
        return book.unfinished() == 0;
    });
    server.kill();
    promote();
    Promoted now(*this);
    now.make_ready();
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked) << "I9, through a failover";
}

}  // namespace
}  // namespace lumen::admind

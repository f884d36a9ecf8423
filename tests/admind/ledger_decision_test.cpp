// The book restored from a backup: what is found by itself, what stops, and what `lumen-admind rebuild` does once a
// person decided (ledger.md 6.5, §8).
#include <gtest/gtest.h>

#include <future>
#include <memory>

#include "admind/ledger/bucket_decision.h"
#include "admind/ledger/jobs.h"
#include "admind/ledger/rebuild_command.h"
#include "admind/ledger/redis_strangers.h"
#include "admind/ledger/stream_trim.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class LedgerDecision : public PrivateLedger {
 public:
    /// admind over the backup, and the same Redis.
    struct Restored {
        Restored(const std::string& url, PrivateLedger& ledger)
            : database(url),
              postgres(url, 24, std::chrono::seconds(5)),
              book(postgres, ledger.redis_pool),
              readiness(postgres, ledger.server.url(), std::chrono::seconds(20), ledger.spool.path()),
              sync(postgres, ledger.server.url(), std::chrono::seconds(20), book) {}
        std::string database;
        PgPool postgres;
        LedgerBook book;
        BucketReadiness readiness;
        LedgerSync sync;

        std::int64_t number(const std::string& query) {
            auto connection = postgres.acquire();
            pqxx::read_transaction transaction(*connection);
            return transaction.exec1(query)[0].as<std::int64_t>();
        }
        std::size_t drain(std::vector<std::string>* alarms = nullptr) {
            std::size_t drained = 0;
            for (;;) {
                const DrainResult result = sync.drain(std::chrono::milliseconds(0));
                if (alarms) alarms->insert(alarms->end(), result.alarms.begin(), result.alarms.end());
                if (!alarms) {
                    EXPECT_TRUE(result.alarms.empty());
                }
                if (result.events == 0) return drained;
                drained += result.events;
            }
        }
        int rebuild(const std::string& from, PrivateLedger& ledger) {
            Settings settings;
            settings.app.database_url = database;
            settings.app.database_pool_timeout = std::chrono::seconds(5);
            settings.redis_url = ledger.server.url();
            return run_rebuild(settings, {from, false, ledger.spool.path(), "root"});
        }
    };

    std::unique_ptr<Restored> restore(const std::string& backup) { return std::make_unique<Restored>(backup, *this); }
    void expect_books_balance(Restored& restored) {
        for (const std::string& finding : harness::check_invariants(restored.postgres, redis, running)) {
            ADD_FAILURE() << finding;
        }
        invariants_hold = false;  // of the database that is gone
    }
    void forget_drained_events() { trim_streams(postgres, redis, std::chrono::hours(-1)); }
    std::string balance_in(Restored& restored, AccountId account) {
        return std::to_string(
            restored.number("select balance from account_balances where account_id = " + std::to_string(account)));
    }
};

TEST_F(LedgerDecision, commits_lost_within_trim_after_are_drained_again_without_a_decision) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    const std::string backup = backup_of(database);
    charge(account, NanoCoins(300));
    drain();
    const auto restored = restore(backup);
    EXPECT_TRUE(restored->readiness.check().empty());
    EXPECT_EQ(restored->drain(), 1u);
    EXPECT_EQ(balance_in(*restored, account.id), std::to_string(5 * kCoin - 300));
    expect_books_balance(*restored);
}

TEST_F(LedgerDecision, a_book_that_forgot_which_master_it_drains_is_told_again) {
    new_account(coins(0));
    const std::string before_redis_was_served = backup_of(database);
    make_ready();
    const auto restored = restore(before_redis_was_served);
    EXPECT_EQ(restored->number("select count(*) from stream_positions where source <> ''"), 0);
    EXPECT_EQ(restored->readiness.check().size(), static_cast<std::size_t>(kBuckets));
    EXPECT_EQ(restored->readiness.not_ready(), 0);
    EXPECT_EQ(restored->number("select count(*) from stream_positions where source <> ''"), kBuckets);
    expect_books_balance(*restored);
}

TEST_F(LedgerDecision, an_older_backup_stands_still_serves_nothing_wrong_and_is_made_whole_from_redis) {
    make_ready();
    const Account account = new_account(coins(5));
    const Account other = new_account(coins(7));
    charge(account, NanoCoins(100));
    drain();
    const std::string backup = backup_of(database);
    charge(account, NanoCoins(20));
    EXPECT_EQ(book.move_money({account.id, MoneyOpKind::add, coins(1), "lost grant", "root", "r"}).result,
              MoneyResult::done);
    drain();
    forget_drained_events();
    charge(account, NanoCoins(3));
    const std::string true_balance = std::to_string(6 * kCoin - 123);
    ASSERT_EQ(field(account.id, "bal"), true_balance);

    const auto restored = restore(backup);
    std::vector<std::string> alarms;
    EXPECT_EQ(restored->drain(&alarms), 0u);
    ASSERT_EQ(alarms.size(), 1u);
    EXPECT_NE(alarms[0].find("hole in the stream"), std::string::npos) << alarms[0];
    EXPECT_EQ(field(account.id, "bal"), true_balance) << "what is served is still right";
    server.stop();
    server.start();
    restored->readiness.check();
    EXPECT_EQ(restored->readiness.not_ready(), 1) << "the other buckets lost nothing";
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready);
    EXPECT_EQ(admit(other, new_request(), NanoCoins(1), 1), Reply::ok);
    EXPECT_EQ(restored->rebuild("", *this), 1) << "it does not decide by itself";

    EXPECT_EQ(restored->rebuild("redis", *this), 0);
    EXPECT_EQ(field(account.id, "bal"), true_balance);
    EXPECT_EQ(balance_in(*restored, account.id), true_balance);
    EXPECT_EQ(restored->number("select count(*) from ledger_events where kind = 1 and delta = -3"), 1)
        << "what the stream still had is booked as it was";
    EXPECT_EQ(restored->number("select count(*) from ledger_events join money_ops using (account_id, opn) "
                               "where actor = 'root' and ledger_events.kind = 4"),
              1)
        << "what it lost is one row, with who decided";
    charge(account, NanoCoins(1));
    Restored started_anew(backup, *this);  // the other drainer looks at the bucket again after 10 s
    EXPECT_EQ(started_anew.drain(), 1u);
    EXPECT_EQ(started_anew.book.move_money({account.id, MoneyOpKind::add, coins(1), "next grant", "root", "r"}).result,
              MoneyResult::done);
    started_anew.drain();
    running = harness::Running::requests;
    expect_books_balance(started_anew);
}

TEST_F(LedgerDecision, the_book_may_be_declared_right_and_redis_follows_it) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    const std::string backup = backup_of(database);
    charge(account, NanoCoins(20));
    drain();
    forget_drained_events();
    charge(account, NanoCoins(3));
    const auto restored = restore(backup);
    EXPECT_EQ(restored->rebuild("book", *this), 0);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin));
    EXPECT_EQ(restored->drain(), 0u);
    charge(account, NanoCoins(1));
    EXPECT_EQ(restored->drain(), 1u);
    expect_books_balance(*restored);
}

TEST_F(LedgerDecision, a_daemon_that_looks_at_the_bucket_at_that_moment_takes_nothing_from_the_decision) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, coins(1));
    drain();
    set_field(account.id, "bal", "1");  // by hand: the book is right
    const Bucket bucket = account_bucket(account.id);
    // The decision's commit waits for us, so that somebody can come before the bucket is marked.
    execute(
        "create function wait_for_the_test() returns trigger language plpgsql as $$ begin "
        "perform pg_advisory_xact_lock(42); return null; end $$;"
        "create constraint trigger wait_for_the_test after update on stream_positions deferrable initially deferred "
        "for each row execute function wait_for_the_test()");
    auto holder_connection = postgres.acquire();
    pqxx::work holder(*holder_connection);
    holder.exec("select pg_advisory_xact_lock(42)");
    RedisLink link(server.url(), std::chrono::seconds(5));
    auto deciding = std::async(std::launch::async, [&] {
        return decide_bucket(postgres, link, bucket, TrustedStore::book, spool.path(), "root");
    });
    wait_until("the decision commits", [&] {
        return number("select count(*) from pg_locks where locktype = 'advisory' and objid = 42 and not granted") == 1;
    });
    BeginRebuildCall other(bucket, "of-a-daemon");
    redis.call(other);
    holder.commit();

    const DecisionOutcome outcome = deciding.get();
    EXPECT_EQ(outcome.failure, "");
    EXPECT_NE(outcome.left_to_another, "");
    make_ready();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(coins(4).nano()));
}

TEST_F(LedgerDecision, what_was_revoked_or_deactivated_after_the_backup_stays_so_I9) {
    make_ready();
    const Account revoked = new_account(coins(5));
    const Account deactivated = new_account(coins(5));
    drain();
    const std::string backup = backup_of(database);
    ASSERT_EQ(book.revoke_key(revoked.id, revoked.key, "root").in_force, InForce::yes);
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        set_account_active(transaction, deactivated.id, false);
        transaction.commit();
    }
    ASSERT_EQ(book.enforce_account(deactivated.id), InForce::yes);
    for (const char* from : {"redis", "book"}) {
        const auto restored = restore(backup_of(backup));
        EXPECT_EQ(restored->rebuild(from, *this), 0) << from;
        EXPECT_EQ(admit(revoked, new_request(), NanoCoins(1)), Reply::revoked) << from;
        EXPECT_EQ(admit(deactivated, new_request(), NanoCoins(1)), Reply::disabled) << from;
        EXPECT_EQ(restored->number("select count(*) from api_keys where state = 2"), 1) << from;
        expect_books_balance(*restored);
        // The next round finds a Redis that is ahead of its backup, too.
    }
}

TEST_F(LedgerDecision, an_account_made_after_the_backup_is_no_ones_and_its_ids_are_never_given_again) {
    make_ready();
    const Account known = new_account(coins(5));
    drain();
    const std::string backup = backup_of(database);
    const Account stranger = new_account(coins(9));
    drain();

    const auto restored = restore(backup);
    Leader leader(restored->database);
    LedgerJobsSettings settings;
    settings.database_url = restored->database;
    settings.redis_url = server.url();
    settings.spool_directory = spool.path();
    {
        LedgerJobs jobs(settings, restored->book, leader);
        jobs.start();
        wait_until("it is noticed", [&] {
            for (const std::string& alarm : jobs.metrics().alarms) {
                if (alarm.find("1 accounts and 1 keys that the book does not know") != std::string::npos) return true;
            }
            return false;
        });
    }
    EXPECT_EQ(restored->rebuild("redis", *this), 0);
    EXPECT_EQ(redis.command({"EXISTS", account_key(stranger.id)})->integer, 0);
    LookupCall lookup(stranger.hash);
    const std::string text = redis.call(lookup);
    EXPECT_EQ(parse_reply(Script::lookup, text).reply, Reply::no_key);
    {
        auto connection = restored->postgres.acquire();
        pqxx::work transaction(*connection);
        EXPECT_GT(insert_account(transaction, AccountOwner::user, {}), stranger.id);
        NewKey key = new_key(known.id);
        EXPECT_GT(insert_key(transaction, key), stranger.key);
    }
    charge(known, NanoCoins(1));
    EXPECT_EQ(restored->drain(), 1u);
    expect_books_balance(*restored);
}

TEST_F(LedgerDecision, an_emptied_redis_is_filled_by_the_command_alone) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(20));
    drain();
    redis.command({"FLUSHALL"});
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready);
    Restored same(database, *this);
    EXPECT_EQ(same.rebuild("", *this), 0);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 20));
    charge(account, NanoCoins(1));
    drain();
}

}  // namespace
}  // namespace lumen::admind

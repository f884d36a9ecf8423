// Draining: each event once in the book, whatever happens on the way (ledger.md 6.1, T7).
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "admind/ledger/stream_trim.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

using LedgerDrain = PrivateLedger;

/// A ledger whose book can be made to wait in the middle of a commit: for a standby that is not there.
class LedgerDrainCommits : public PrivateLedger {
 protected:
    void make_commits_wait() {
        configure("alter system set synchronous_standby_names = 'nobody'");
        // The server takes that up in its own time. Once one commit waits, every later one does.
        std::atomic<bool> seen = false;
        std::atomic<bool> done = false;
        std::thread free_them([&] {
            while (!done) {
                if (call_on_waiting_commit("pg_cancel_backend")) seen = true;
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            }
        });
        wait_until("a commit waits", [&] {
            execute("create table if not exists probe (); drop table probe");
            return seen.load();
        });
        done = true;
        free_them.join();
    }
    void let_commits_go() { configure("alter system reset synchronous_standby_names"); }

    /// False: no commit is waiting.
    bool call_on_waiting_commit(const std::string& function) {
        auto connection = postgres.acquire();
        pqxx::nontransaction look(*connection);
        return !look.exec("select " + function +
                          "(pid) from pg_stat_activity where wait_event = 'SyncRep' and datname = current_database()")
                    .empty();
    }

 private:
    void configure(const std::string& statement) {
        auto connection = postgres.acquire();
        pqxx::nontransaction admin(*connection);
        admin.exec(statement);
        admin.exec("select pg_reload_conf()");
    }
};

TEST_F(LedgerDrain, a_charge_is_in_rows_balance_key_totals_and_quarters) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(1'234'567'890));
    EXPECT_EQ(drain(), 2u);  // the grant and the charge
    const std::string id = std::to_string(account.id);
    EXPECT_EQ(number("select balance from account_balances where account_id = " + id), 5 * kCoin - 1'234'567'890);
    EXPECT_EQ(number("select spent from account_balances where account_id = " + id), 1'234'567'890);
    EXPECT_EQ(number("select requests from account_balances where account_id = " + id), 1);
    EXPECT_EQ(
        number("select tokens_in * 1000 + tokens_out from key_totals where key_id = " + std::to_string(account.key)),
        11'013);
    EXPECT_EQ(
        number(
            "select cost from usage_quarter where model_id = 3 and endpoint_id = 5 and source = 1 and account_id = " +
            id),
        1'234'567'890);

    LedgerQuery query;
    query.account = account.id;
    auto connection = postgres.acquire();
    pqxx::read_transaction transaction(*connection);
    const auto entries = read_ledger(transaction, query);
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[0].kind, EventKind::usage);
    EXPECT_EQ(entries[0].delta.nano(), -1'234'567'890);
    EXPECT_EQ(entries[0].usage.input_tokens, 11u);
    EXPECT_EQ(entries[0].price, 7);
    EXPECT_EQ(entries[0].source, UsageSource::final);
    EXPECT_EQ(entries[1].kind, EventKind::grant);
    EXPECT_EQ(entries[1].actor, "test");
    query.before = LedgerCursor{entries[0].at_us, entries[0].bucket, entries[0].bseq};
    EXPECT_EQ(read_ledger(transaction, query).size(), 1u);
}

TEST_F(LedgerDrain, two_drainers_book_each_event_once) {
    make_ready();
    std::vector<Account> accounts;
    for (int i = 0; i < 20; ++i) accounts.push_back(new_account(coins(100)));
    std::atomic<bool> done{false};
    std::atomic<std::size_t> booked{0};
    const auto drain_until_done = [&] {
        LedgerSync other(postgres, server.url(), std::chrono::seconds(20), book);
        for (bool last = false; !last;) {
            last = done;
            for (;;) {
                const DrainResult result = other.drain(std::chrono::milliseconds(1));
                EXPECT_TRUE(result.alarms.empty());
                if (result.events == 0 && !result.woken_for_nothing) break;
                booked += result.events;
            }
        }
    };
    std::thread first(drain_until_done);
    std::thread second(drain_until_done);
    for (int round = 0; round < 50; ++round) {
        for (const Account& account : accounts) charge(account, NanoCoins(1 + round));
    }
    done = true;
    first.join();
    second.join();
    EXPECT_EQ(booked, 20u + 50u * 20u);
    EXPECT_EQ(number("select count(*) from ledger_events"), 20 + 50 * 20);
}

TEST_F(LedgerDrain, a_drainer_that_is_behind_books_two_transactions_at_once) {
    make_ready();
    std::vector<Account> accounts;
    for (int i = 0; i < 12; ++i) accounts.push_back(new_account(coins(100)));
    drain();
    for (int round = 0; round < 10; ++round) {
        for (const Account& account : accounts) charge(account, NanoCoins(1 + round));
    }
    LedgerSync behind(postgres, server.url(), std::chrono::seconds(20), book, 40);
    const DrainResult first = behind.drain(std::chrono::milliseconds(0));
    EXPECT_EQ(first.events, 80u);
    EXPECT_TRUE(first.full);
    EXPECT_EQ(number("select count(distinct xmin::text) from ledger_events where kind = 1"), 2);
    const DrainResult second = behind.drain(std::chrono::milliseconds(0));
    EXPECT_EQ(second.events, 40u);
    EXPECT_EQ(number("select count(*) from ledger_events where kind = 1"), 120);
}

TEST_F(LedgerDrain, of_two_transactions_at_once_the_one_that_fails_keeps_the_other_from_nothing) {
    make_ready();
    std::vector<Account> accounts;
    for (int i = 0; i < 4; ++i) accounts.push_back(new_account(coins(100)));
    drain();
    for (int round = 0; round < 10; ++round) {
        for (const Account& account : accounts) charge(account, NanoCoins(1 + round));
    }
    // The last of them is in the second transaction, with another one that has nothing to do with it.
    const std::string wrong = std::to_string(accounts[3].id);
    execute("update account_balances set balance = balance + 1 where account_id = " + wrong);
    LedgerSync behind(postgres, server.url(), std::chrono::seconds(20), book, 20);
    const DrainResult result = behind.drain(std::chrono::milliseconds(0));
    EXPECT_EQ(result.events, 30u);
    ASSERT_EQ(result.alarms.size(), 1u);
    EXPECT_NE(result.alarms[0].find("account=" + wrong), std::string::npos) << result.alarms[0];
    EXPECT_EQ(number("select count(*) from ledger_events where kind = 1"), 30);
    execute("update account_balances set balance = balance - 1 where account_id = " + wrong);
    LedgerSync mended(postgres, server.url(), std::chrono::seconds(20), book, 20);
    EXPECT_EQ(mended.drain(std::chrono::milliseconds(0)).events, 10u);
}

TEST_F(LedgerDrainCommits, a_commit_whose_answer_is_lost_is_not_booked_twice) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(17));
    make_commits_wait();
    std::thread cut(
        [&] { wait_until("the commit waits", [&] { return call_on_waiting_commit("pg_terminate_backend"); }); });
    EXPECT_THROW(sync.drain(std::chrono::milliseconds(0)), std::exception);
    cut.join();
    let_commits_go();
    EXPECT_EQ(number("select count(*) from ledger_events"), 2) << "the commit had happened";
    drain();
    EXPECT_EQ(number("select count(*) from ledger_events"), 2);
}

TEST_F(LedgerDrain, a_commit_that_was_cut_off_before_it_happened_is_done_again) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(17));
    execute(
        "create function cut() returns trigger language plpgsql as $$ begin "
        "perform pg_terminate_backend(pg_backend_pid()); return null; end $$");
    execute(
        "create constraint trigger cut after update on account_balances deferrable initially deferred "
        "for each row execute function cut()");
    EXPECT_THROW(sync.drain(std::chrono::milliseconds(0)), std::exception);
    EXPECT_EQ(number("select count(*) from ledger_events"), 0);
    execute("drop trigger cut on account_balances");
    EXPECT_EQ(drain(), 2u);
}

TEST_F(LedgerDrain, a_hole_stops_its_bucket_and_no_other) {
    make_ready();
    const Account broken = new_account(coins(5));
    const Account sound = new_account(coins(5));
    ASSERT_NE(account_bucket(broken.id), account_bucket(sound.id));
    drain();
    charge(broken, NanoCoins(1));
    charge(broken, NanoCoins(2));
    charge(sound, NanoCoins(4));
    const std::string hole = std::to_string(number("select last_bseq from stream_positions where bucket = " +
                                                   std::to_string(account_bucket(broken.id))) +
                                            1) +
                             "-0";
    redis.command({"XDEL", bucket_key(account_bucket(broken.id), "events"), hole});
    const DrainResult result = sync.drain(std::chrono::milliseconds(0));
    ASSERT_EQ(result.alarms.size(), 1u);
    EXPECT_NE(result.alarms[0].find("hole in the stream"), std::string::npos);
    EXPECT_EQ(result.events, 1u);
    EXPECT_EQ(number("select balance from account_balances where account_id = " + std::to_string(sound.id)),
              5 * kCoin - 4);
    EXPECT_EQ(number("select balance from account_balances where account_id = " + std::to_string(broken.id)),
              5 * kCoin);
    invariants_hold = false;
}

TEST_F(LedgerDrain, a_balance_that_does_not_lead_to_the_event_is_an_alarm_and_books_nothing) {
    make_ready();
    const Account account = new_account(coins(5));
    drain();
    charge(account, NanoCoins(1));
    execute("update account_balances set balance = balance + 1");
    const DrainResult result = sync.drain(std::chrono::milliseconds(0));
    ASSERT_EQ(result.alarms.size(), 1u);
    EXPECT_EQ(number("select count(*) from ledger_events"), 1);
    invariants_hold = false;
}

TEST_F(LedgerDrain, the_stream_of_another_master_is_not_drained) {
    make_ready();
    new_account(coins(5));
    execute("update stream_positions set source = repeat('0', 40)");
    const DrainResult result = sync.drain(std::chrono::milliseconds(0));
    EXPECT_EQ(result.events, 0u);
    EXPECT_TRUE(result.woken_for_nothing);
    EXPECT_EQ(number("select count(*) from ledger_events"), 0);
}

TEST_F(LedgerDrain, trim_keeps_what_is_young_or_not_drained) {
    make_ready();
    const Account account = new_account(coins(5));
    for (int i = 0; i < 10; ++i) charge(account, NanoCoins(1));
    drain();
    charge(account, NanoCoins(1));
    const std::string stream = bucket_key(account_bucket(account.id), "events");
    trim_streams(postgres, redis, std::chrono::minutes(10));
    EXPECT_EQ(redis.command({"XLEN", stream})->integer, 12);
    trim_streams(postgres, redis, std::chrono::hours(-1));
    EXPECT_EQ(redis.command({"XLEN", stream})->integer, 1) << "only the one that is not in the book yet stays";
    EXPECT_EQ(drain(), 1u);
}

TEST_F(LedgerDrain, trim_finds_the_border_between_old_and_young) {
    make_ready();
    const Account account = new_account(coins(5));
    const auto now_ms = [&] {
        const RedisReply time = redis.command({"TIME"});
        return parse_nano(reply_text(time->element[0]))->nano() * 1000 +
               parse_nano(reply_text(time->element[1]))->nano() / 1000;
    };
    for (int i = 0; i < 7; ++i) charge(account, NanoCoins(1));
    const std::int64_t border = now_ms();
    wait_until("the border has passed", [&] { return now_ms() > border + 2100; });
    for (int i = 0; i < 6; ++i) charge(account, NanoCoins(1));
    drain();
    // Between the first ones and the others, however long those took; the trim counts from the last full second.
    trim_streams(postgres, redis, std::chrono::milliseconds(now_ms() - border - 1001));
    EXPECT_EQ(redis.command({"XLEN", bucket_key(account_bucket(account.id), "events")})->integer, 6);
}

}  // namespace
}  // namespace lumen::admind

// What hurts the users of other gateways cannot happen here: one test a lesson (lessons.md), against the scripts, the
// drain and the rebuild as they run.
#include <gtest/gtest.h>

#include <thread>

#include "admind/ledger/hold_reaper.h"
#include "admind/ledger/refill_job.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class LedgerLessons : public PrivateLedger {
 public:
    AccountSettings strict_limit() {
        AccountSettings settings;
        settings.limit = coins(1000);
        settings.strict = true;
        return settings;
    }
    /// `threads` connections ask for one hold each, all at once; how many got one.
    int admits_at_once(const Account& account, int threads, NanoCoins hold) {
        std::atomic<int> admitted{0};
        std::vector<std::thread> clients;
        for (int i = 0; i < threads; ++i) {
            clients.emplace_back([&] {
                AdmitArguments arguments;
                arguments.request = new_request();
                arguments.identity = {account.id, account.key, kTestPolicy, 0};
                arguments.hold = hold;
                arguments.ttl_ms = 1;
                arguments.blob = "-";
                AdmitCall call(arguments);
                RedisLink own(server.url(), std::chrono::seconds(20));
                if (parse_reply(Script::admit, own.call(call)).reply == Reply::ok) ++admitted;
            });
        }
        for (std::thread& client : clients) client.join();
        return admitted;
    }
    void reap_all() {
        HoldReaper reaper(redis, std::chrono::milliseconds(0));
        wait_until("no hold is left", [&] {
            reaper.run();
            std::int64_t left = 0;
            for (int i = 0; i < kBuckets; ++i) {
                left += redis.command({"HLEN", bucket_key(static_cast<Bucket>(i), "holds")})->integer;
            }
            return left == 0;
        });
        drain();
    }
};

TEST_F(LedgerLessons, L1_parallel_requests_do_not_overdraw) {
    make_ready();
    const Account account = new_account(strict_limit(), coins(3));
    EXPECT_EQ(admits_at_once(account, 12, coins(1)), 3);
    reap_all();
}

TEST_F(LedgerLessons, L2_the_cap_of_a_key_is_held_in_the_same_breath) {
    make_ready();
    Account account = new_account(strict_limit(), coins(100));
    NewKey key = new_key(account.id);
    key.cap = coins(2);
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        account.key = insert_key(transaction, key);
        transaction.commit();
    }
    ASSERT_EQ(book.enforce_key(account.key), InForce::yes);
    EXPECT_EQ(admits_at_once(account, 12, coins(1)), 2);
    reap_all();
}

TEST_F(LedgerLessons, L3_without_a_wallet_there_is_no_first_request) {
    make_ready();
    const Account no_budget = new_account(AccountSettings{}, coins(5));
    EXPECT_EQ(admit(no_budget, new_request(), NanoCoins(1)), Reply::no_budget);
    Account nobody = no_budget;
    nobody.id += 1'000;
    EXPECT_EQ(admit(nobody, new_request(), NanoCoins(1)), Reply::no_key);
    drain();
}

TEST_F(LedgerLessons, L4_a_hold_whose_gate_died_ends_by_itself_and_refuses_nobody_afterwards) {
    make_ready();
    const Account account = new_account(strict_limit(), coins(2));
    ASSERT_EQ(admit(account, new_request(), coins(2), 1), Reply::ok);
    EXPECT_EQ(admit(account, new_request(), coins(2), 1), Reply::held);
    reap_all();
    EXPECT_EQ(field(account.id, "held"), "0");
    EXPECT_EQ(admit(account, new_request(), coins(2), 1), Reply::ok);
    reap_all();
}

TEST_F(LedgerLessons, L5_many_admind_that_load_a_balance_at_once_load_it_once) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(7));
    drain();
    redis.command({"FLUSHALL"});
    std::vector<std::thread> daemons;
    for (int i = 0; i < 4; ++i) {
        daemons.emplace_back([&] {
            PgPool own(database, 10, std::chrono::seconds(20));
            BucketReadiness(own, server.url(), std::chrono::seconds(20), spool.path()).check();
        });
    }
    for (std::thread& daemon : daemons) daemon.join();
    make_ready();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 7));
}

TEST_F(LedgerLessons, L6_a_call_repeated_after_a_time_out_changes_nothing_more) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    for (int i = 0; i < 3; ++i) EXPECT_EQ(admit(account, request, coins(1)), Reply::ok);
    EXPECT_EQ(field(account.id, "nh"), "1");
    EXPECT_EQ(settle(account, request, NanoCoins(9)), Reply::ok);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(settle(account, request, NanoCoins(9)), Reply::dup);
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(book.move_money({account.id, MoneyOpKind::add, coins(1), "once", "root", ""}).after.nano(),
                  6 * kCoin - 9);
    }
    drain();
    EXPECT_EQ(number("select requests from account_balances"), 1);
}

TEST_F(LedgerLessons, L7_no_balance_expires_and_a_redis_without_one_refuses) {
    make_ready();
    const Account account = new_account(coins(5));
    charge(account, NanoCoins(1));
    drain();
    const RedisReply keys = redis.command({"KEYS", "*"});
    for (std::size_t i = 0; i < keys->elements; ++i) {
        EXPECT_EQ(redis.command({"TTL", reply_text(keys->element[i])})->integer, -1) << reply_text(keys->element[i]);
    }
    redis.command({"FLUSHALL"});
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::not_ready) << "an old value cannot take over";
    make_ready();
}

TEST_F(LedgerLessons, L8_a_reset_and_a_refill_work_on_the_one_balance_that_there_is) {
    make_ready();
    AccountSettings settings;
    settings.limit = coins(10);
    settings.rate = coins(1);
    const Account account = new_account(settings, coins(2));
    charge(account, coins(2));
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::coins);
    EXPECT_EQ(book.move_money({account.id, MoneyOpKind::set, coins(2), "reset", "root", ""}).after, coins(2));
    charge(account, coins(1));
    set_field(account.id, "lrh", std::to_string(std::stoll(field(account.id, "lrh")) - 2));
    EXPECT_EQ(RefillJob(postgres, redis).run(), 1);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(3 * kCoin));
    drain();
    EXPECT_EQ(number("select balance from account_balances"), 3 * kCoin);
}

TEST_F(LedgerLessons, L12_a_restart_of_redis_forgets_no_charge_and_no_cap) {
    redis.command({"CONFIG", "SET", "appendfsync", "always"});
    make_ready();
    Account account = new_account(coins(50));
    NewKey key = new_key(account.id);
    key.cap = coins(3);
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        account.key = insert_key(transaction, key);
        transaction.commit();
    }
    ASSERT_EQ(book.enforce_key(account.key), InForce::yes);
    charge(account, coins(3));
    server.kill();
    server.start();
    make_ready();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(47 * kCoin));
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::key_cap);
    drain();
}

TEST_F(LedgerLessons, L16_one_answer_is_billed_once_whoever_settles_it_again_and_whenever) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, coins(1)), Reply::ok);
    ASSERT_EQ(settle(account, request, NanoCoins(100)), Reply::ok);
    drain();
    redis.command({"FLUSHALL"});  // and with it the memory of what was settled
    make_ready();
    EXPECT_EQ(settle(account, request, NanoCoins(100)), Reply::late);
    drain();
    drain();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 100));
    EXPECT_EQ(number("select spent from account_balances"), 100);
}

TEST_F(LedgerLessons, L18_a_write_in_flight_does_not_revive_a_deleted_key) {
    make_ready();
    const Account account = new_account(coins(5));
    KeyConfig in_flight;  // a change that was read from the book before the key was deleted, and arrives after it
    in_flight.account = account.id;
    in_flight.key = account.key;
    in_flight.version = 50;
    const RequestId running_request = new_request();
    ASSERT_EQ(admit(account, running_request, coins(1)), Reply::ok);
    ASSERT_EQ(book.revoke_key(account.id, account.key, "root").in_force, InForce::yes);
    SetKeyCall late_write(in_flight);
    redis.call(late_write);
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked);
    EXPECT_EQ(settle(account, running_request, NanoCoins(10)), Reply::ok) << "what ran is still settled";
    EXPECT_EQ(admit(account, new_request(), NanoCoins(1)), Reply::revoked);
    drain();
}

}  // namespace
}  // namespace lumen::admind

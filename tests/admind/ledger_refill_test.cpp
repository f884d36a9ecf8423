// Refills: once per account and hour, missed hours made up, never above the limit, never lowering (I12, T12). Hours
// pass by lowering the last refilled hour in both stores: no clock of the product is moved.
#include <gtest/gtest.h>

#include <thread>

#include "admind/ledger/refill_job.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class LedgerRefill : public PrivateLedger {
 public:
    Account new_wallet(NanoCoins limit, NanoCoins rate, NanoCoins granted, bool unlimited = false) {
        AccountSettings settings;
        settings.limit = limit;
        settings.rate = rate;
        settings.unlimited = unlimited;
        return new_account(settings, granted);
    }
    std::int64_t this_hour() { return number("select floor(extract(epoch from now()) / 3600)::bigint"); }
    /// As if `hours` had passed since the last refill.
    void let_pass(AccountId account, std::int64_t hours) {
        drain();
        const std::string hour = std::to_string(this_hour() - hours);
        set_field(account, "lrh", hour);
        execute("update account_balances set last_refill_hour = " + hour +
                " where account_id = " + std::to_string(account));
        execute("update accounts set rate_since_hour = least(rate_since_hour, " + hour +
                ") where id = " + std::to_string(account));
    }
    std::int64_t refill() { return RefillJob(postgres, redis).run(); }
    std::string balance(const Account& account) { return field(account.id, "bal"); }
};

TEST_F(LedgerRefill, an_hour_is_credited_once) {
    make_ready();
    const Account account = new_wallet(coins(100), coins(3), coins(1));
    EXPECT_EQ(refill(), 0) << "the hour of its creation is not refilled";
    let_pass(account.id, 1);
    EXPECT_EQ(refill(), 1);
    EXPECT_EQ(refill(), 0);
    EXPECT_EQ(balance(account), std::to_string(4 * kCoin));
    EXPECT_EQ(drain(), 1u);
    EXPECT_EQ(number("select last_refill_hour from account_balances"), this_hour());
}

TEST_F(LedgerRefill, one_job_asks_each_bucket_once_an_hour) {
    make_ready();
    const Account account = new_wallet(coins(100), coins(3), coins(1));
    RefillJob job(postgres, redis);
    EXPECT_EQ(job.run(), 0);
    let_pass(account.id, 1);
    EXPECT_EQ(job.run(), 0) << "this job has done this hour";
}

TEST_F(LedgerRefill, two_admind_refilling_at_once_credit_once) {
    make_ready();
    std::vector<Account> accounts;
    for (int i = 0; i < 30; ++i) accounts.push_back(new_wallet(coins(100), coins(3), coins(1)));
    for (const Account& account : accounts) let_pass(account.id, 2);
    std::atomic<std::int64_t> refilled{0};
    std::vector<std::thread> jobs;
    for (int i = 0; i < 2; ++i) {
        jobs.emplace_back([&] {
            RedisLink own(server.url(), std::chrono::seconds(20));
            refilled += RefillJob(postgres, own).run();
        });
    }
    for (std::thread& job : jobs) job.join();
    EXPECT_EQ(refilled, 30);
    for (const Account& account : accounts) EXPECT_EQ(balance(account), std::to_string(7 * kCoin));
    drain();
}

TEST_F(LedgerRefill, missed_hours_are_made_up_and_stop_at_the_limit) {
    make_ready();
    const Account some = new_wallet(coins(100), coins(3), coins(1));
    const Account many = new_wallet(coins(10), coins(3), coins(1));
    let_pass(some.id, 5);
    let_pass(many.id, 5);
    refill();
    EXPECT_EQ(balance(some), std::to_string(16 * kCoin));
    EXPECT_EQ(balance(many), std::to_string(10 * kCoin));
    drain();
}

TEST_F(LedgerRefill, at_and_above_the_limit_nothing_changes) {
    make_ready();
    const Account at = new_wallet(coins(10), coins(3), coins(10));
    const Account above = new_wallet(coins(10), coins(3), coins(12));
    let_pass(at.id, 4);
    let_pass(above.id, 4);
    EXPECT_EQ(refill(), 0);
    EXPECT_EQ(balance(at), std::to_string(10 * kCoin));
    EXPECT_EQ(balance(above), std::to_string(12 * kCoin));
}

TEST_F(LedgerRefill, unlimited_blocked_and_budgetless_wallets_are_not_refilled) {
    make_ready();
    const Account unlimited = new_wallet(coins(10), coins(3), coins(1), true);
    const Account blocked = new_wallet(coins(0), coins(3), coins(1));
    AccountSettings none;
    none.rate = coins(3);
    const Account no_budget = new_account(none, coins(1));
    for (const Account& account : {unlimited, blocked, no_budget}) let_pass(account.id, 3);
    EXPECT_EQ(refill(), 0);
    for (const Account& account : {unlimited, blocked, no_budget}) EXPECT_EQ(balance(account), std::to_string(kCoin));
}

TEST_F(LedgerRefill, an_older_hour_changes_nothing) {
    make_ready();
    const Account account = new_wallet(coins(100), coins(3), coins(1));
    let_pass(account.id, 1);
    refill();
    RefillCall older(account.id, this_hour() - 1);
    EXPECT_EQ(parse_reply(Script::refill, redis.call(older)).reply, Reply::same);
    EXPECT_EQ(balance(account), std::to_string(4 * kCoin));
    drain();
}

TEST_F(LedgerRefill, a_rebuilt_wallet_is_not_refilled_twice) {
    make_ready();
    const Account account = new_wallet(coins(100), coins(3), coins(1));
    let_pass(account.id, 2);
    refill();
    drain();
    redis.command({"FLUSHALL"});
    make_ready();
    EXPECT_EQ(refill(), 0);
    EXPECT_EQ(balance(account), std::to_string(7 * kCoin));
    drain();
}

TEST_F(LedgerRefill, a_rebuilt_wallet_that_was_long_full_stays_at_its_limit) {
    make_ready();
    const Account account = new_wallet(coins(10), coins(3), coins(10));
    let_pass(account.id, 50);
    EXPECT_EQ(refill(), 0) << "full: the hours are ticked off in Redis, and the book has no event of it";
    charge(account, coins(2));
    drain();
    EXPECT_EQ(number("select last_refill_hour from account_balances"), this_hour()) << "the charge carried the hour";
    redis.command({"FLUSHALL"});
    make_ready();
    EXPECT_EQ(balance(account), std::to_string(8 * kCoin));
}

TEST_F(LedgerRefill, hours_due_are_credited_by_the_rebuild_itself) {
    make_ready();
    const Account account = new_wallet(coins(100), coins(3), coins(1));
    let_pass(account.id, 2);
    redis.command({"FLUSHALL"});
    make_ready();
    EXPECT_EQ(balance(account), std::to_string(7 * kCoin));
    EXPECT_EQ(refill(), 0);
    drain();
}

TEST_F(LedgerRefill, a_rebuild_after_a_change_of_rate_pays_no_old_hour_at_the_new_rate) {
    make_ready();
    const Account account = new_wallet(coins(1000), coins(3), coins(1));
    let_pass(account.id, 5);
    redis.command({"FLUSHALL"});
    {
        auto connection = postgres.acquire();
        pqxx::work transaction(*connection);
        AccountSettings settings;
        settings.limit = coins(1000);
        settings.rate = coins(100);
        settings.policy = kTestPolicy;
        EXPECT_TRUE(update_account(transaction, account.id, settings));
        transaction.commit();
    }
    book.enforce_account(account.id);
    make_ready();
    refill();
    EXPECT_EQ(balance(account), std::to_string(kCoin));
    drain();
}

TEST_F(LedgerRefill, while_a_bucket_is_not_ready_nothing_moves_and_the_hour_is_not_lost) {
    make_ready();
    const Account account = new_wallet(coins(100), coins(3), coins(1));
    let_pass(account.id, 1);
    redis.command({"HDEL", bucket_key(account_bucket(account.id), "meta"), "ready"});
    RefillJob job(postgres, redis);
    EXPECT_EQ(job.run(), 0);
    EXPECT_EQ(balance(account), std::to_string(kCoin)) << "I10";
    make_ready();
    job.run();
    EXPECT_EQ(balance(account), std::to_string(4 * kCoin));
    drain();
}

}  // namespace
}  // namespace lumen::admind

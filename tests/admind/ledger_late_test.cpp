// Settles that come after their hold was reaped or lost: one correction, once and for ever (ledger.md 6.2, T3).
#include <gtest/gtest.h>

#include "admind/ledger/hold_reaper.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class LedgerLate : public PrivateLedger {
 public:
    void renew(const Account& account, const RequestId& request, NanoCoins shadow) {
        RenewArguments arguments;
        arguments.request = request;
        arguments.account = account.id;
        arguments.key = account.key;
        arguments.amount = coins(1);
        arguments.shadow = shadow;
        arguments.ttl_ms = 1;
        RenewCall call(arguments);
        ASSERT_EQ(parse_reply(Script::renew, redis.call(call)).reply, Reply::ok);
    }
    void reap_all(std::int64_t expected) {
        HoldReaper reaper(redis, std::chrono::milliseconds(0));
        std::int64_t reaped = 0;
        wait_until("the holds are reaped", [&] { return (reaped += reaper.run()) >= expected; });
        EXPECT_EQ(reaped, expected);
    }
};

TEST_F(LedgerLate, settle_after_reap_charges_once) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, coins(1)), Reply::ok);
    renew(account, request, NanoCoins(300));
    reap_all(1);
    EXPECT_EQ(settle(account, request, NanoCoins(1000)), Reply::late);
    EXPECT_EQ(settle(account, request, NanoCoins(1000)), Reply::dup);
    drain();
    drain();
    const std::string id = std::to_string(account.id);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 1000));
    EXPECT_EQ(number("select spent from account_balances where account_id = " + id), 1000);
    EXPECT_EQ(number("select requests from account_balances where account_id = " + id), 1) << "the reap counted it";
    EXPECT_EQ(number("select tokens_in from account_balances where account_id = " + id), 11);
    EXPECT_EQ(number("select count(*) from ledger_events where kind = 5"), 1);
    EXPECT_EQ(number("select delta from ledger_events where kind = 5"), -700);
    EXPECT_EQ(number("select count(*) from ledger_events where kind = 7"), 1);
}

TEST_F(LedgerLate, a_settle_whose_hold_was_lost_is_charged_and_counted) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    EXPECT_EQ(settle(account, request, NanoCoins(1000)), Reply::late);
    drain();
    drain();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 1000));
    EXPECT_EQ(number("select requests from account_balances"), 1);
    EXPECT_EQ(number("select count(*) from ledger_events where kind = 5 and model_id = 3 and tokens_out = 13"), 1);
}

TEST_F(LedgerLate, a_late_settle_of_a_request_that_is_settled_changes_nothing) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, coins(1)), Reply::ok);
    ASSERT_EQ(settle(account, request, NanoCoins(1000)), Reply::ok);
    // Redis forgets settled ids after 20 minutes.
    redis.command({"DEL", bucket_key(account_bucket(account.id), "done0")});
    EXPECT_EQ(settle(account, request, NanoCoins(1000)), Reply::late);
    drain();
    redis.command({"DEL", bucket_key(account_bucket(account.id), "done0")});
    EXPECT_EQ(settle(account, request, NanoCoins(1000)), Reply::late);
    drain();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 1000));
    EXPECT_EQ(number("select count(*) from money_ops where kind = 3"), 0);
}

TEST_F(LedgerLate, what_gates_send_again_after_a_failover_waits_for_no_grant_and_no_grant_for_it) {
    make_ready();
    const Account account = new_account(coins(5));
    std::vector<RequestId> requests;
    for (int i = 0; i < 200; ++i) requests.push_back(new_request());
    for (const RequestId& request : requests) {
        ASSERT_EQ(admit(account, request, coins(1)), Reply::ok);
        ASSERT_EQ(settle(account, request, NanoCoins(1000)), Reply::ok);
    }
    drain();
    redis.command({"DEL", bucket_key(account_bucket(account.id), "done0")});
    for (const RequestId& request : requests) EXPECT_EQ(settle(account, request, NanoCoins(1000)), Reply::late);
    auto other = postgres.acquire();
    pqxx::work grant(*other);
    grant.exec_params("select 1 from account_ops where account_id = $1 for update", account.id);
    EXPECT_EQ(drain(), requests.size());
    EXPECT_EQ(number("select count(*) from money_ops where kind = 3"), 0);
}

TEST_F(LedgerLate, two_lates_of_one_request_in_one_batch_are_charged_once) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    EXPECT_EQ(settle(account, request, NanoCoins(1000)), Reply::late);
    redis.command({"DEL", bucket_key(account_bucket(account.id), "done0")});
    EXPECT_EQ(settle(account, request, NanoCoins(1000)), Reply::late);
    drain();
    drain();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 1000));
    EXPECT_EQ(number("select count(*) from money_ops where kind = 3"), 1);
}

TEST_F(LedgerLate, an_unlimited_account_is_counted_but_not_debited) {
    make_ready();
    AccountSettings settings;
    settings.unlimited = true;
    const Account account = new_account(settings, coins(0));
    const RequestId request = new_request();
    EXPECT_EQ(settle(account, request, NanoCoins(1000)), Reply::late);
    drain();
    drain();
    EXPECT_EQ(field(account.id, "bal"), "0");
    EXPECT_EQ(number("select spent from account_balances"), 1000);
}

TEST_F(LedgerLate, holds_are_not_reaped_right_after_a_reconciliation) {
    make_ready();
    const Account account = new_account(coins(5));
    const RequestId request = new_request();
    ASSERT_EQ(admit(account, request, coins(1), 1), Reply::ok);
    HoldReaper patient(redis, std::chrono::hours(1));
    EXPECT_EQ(patient.run(), 0);
    EXPECT_EQ(patient.run(), 0);
    EXPECT_EQ(redis.command({"HLEN", bucket_key(account_bucket(account.id), "holds")})->integer, 1);
    reap_all(1);
}

TEST_F(LedgerLate, a_running_hold_is_left_alone) {
    make_ready();
    running = harness::Running::requests;
    const Account account = new_account(coins(5));
    ASSERT_EQ(admit(account, new_request(), coins(1)), Reply::ok);
    HoldReaper reaper(redis, std::chrono::milliseconds(0));
    EXPECT_EQ(reaper.run(), 0);
    EXPECT_EQ(field(account.id, "held"), std::to_string(kCoin));
}

}  // namespace
}  // namespace lumen::admind

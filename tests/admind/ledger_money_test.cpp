// Grants and resets: each idem_key moves money once, in order, also when Redis or its data were away (I13).
#include <gtest/gtest.h>

#include <thread>

#include "tests/admind/private_ledger.h"

namespace lumen::admind {
namespace {

class LedgerMoney : public PrivateLedger {
 public:
    MoneyOutcome grant(const Account& account, NanoCoins amount, const std::string& idem_key) {
        return book.move_money({account.id, MoneyOpKind::add, amount, idem_key, "root", "because"});
    }
    MoneyOutcome reset(const Account& account, NanoCoins balance, const std::string& idem_key) {
        return book.move_money({account.id, MoneyOpKind::set, balance, idem_key, "root", "because"});
    }
};

TEST_F(LedgerMoney, a_grant_says_before_and_after_and_its_repeat_says_the_same) {
    make_ready();
    const Account account = new_account(coins(2));
    const MoneyOutcome first = grant(account, coins(3), "g1");
    EXPECT_EQ(first.result, MoneyResult::done);
    EXPECT_EQ(first.before, coins(2));
    EXPECT_EQ(first.after, coins(5));
    charge(account, NanoCoins(7));
    for (const bool drained : {false, true}) {
        if (drained) {
            drain();
            redis.command({"DEL", bucket_key(account_bucket(account.id), "events")});
        }
        const MoneyOutcome again = grant(account, coins(3), "g1");
        EXPECT_EQ(again.result, MoneyResult::done);
        EXPECT_EQ(again.opn, first.opn);
        EXPECT_EQ(again.after, coins(5));
    }
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin - 7));
}

TEST_F(LedgerMoney, an_idem_key_for_other_money_is_refused) {
    make_ready();
    const Account account = new_account(coins(2));
    const Account other = new_account(coins(2));
    EXPECT_EQ(grant(account, coins(3), "g1").result, MoneyResult::done);
    EXPECT_EQ(grant(account, coins(4), "g1").result, MoneyResult::key_reused);
    EXPECT_EQ(grant(other, coins(3), "g1").result, MoneyResult::key_reused);
    EXPECT_EQ(reset(account, coins(3), "g1").result, MoneyResult::key_reused);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(5 * kCoin));
    EXPECT_EQ(field(other.id, "bal"), std::to_string(2 * kCoin));
    drain();
}

TEST_F(LedgerMoney, one_idem_key_from_many_at_once_moves_money_once) {
    make_ready();
    const Account account = new_account(coins(0));
    std::vector<std::thread> callers;
    std::atomic<int> done{0};
    for (int i = 0; i < 6; ++i) {
        callers.emplace_back([&] {
            const MoneyOutcome outcome = grant(account, coins(1), "same");
            if (outcome.result == MoneyResult::done && outcome.after == coins(1)) ++done;
        });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(done, 6);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(kCoin));
    drain();
}

TEST_F(LedgerMoney, grants_from_many_at_once_are_all_in_force) {
    make_ready();
    const Account account = new_account(coins(0));
    std::vector<std::thread> callers;
    for (int i = 0; i < 6; ++i) {
        callers.emplace_back([&, i] {
            for (int j = 0; j < 10; ++j) {
                EXPECT_EQ(grant(account, coins(1), std::to_string(i) + "/" + std::to_string(j)).result,
                          MoneyResult::done);
            }
        });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(60 * kCoin));
    drain();
}

TEST_F(LedgerMoney, a_reset_sets_the_balance_from_above_and_below) {
    make_ready();
    const Account account = new_account(coins(7));
    const MoneyOutcome down = reset(account, coins(2), "r1");
    EXPECT_EQ(down.result, MoneyResult::done);
    EXPECT_EQ(down.before, coins(7));
    EXPECT_EQ(down.after, coins(2));
    EXPECT_EQ(reset(account, coins(9), "r2").before, coins(2));
    EXPECT_EQ(field(account.id, "bal"), std::to_string(9 * kCoin));
    drain();
}

TEST_F(LedgerMoney, beyond_the_largest_amount_nothing_moves_and_later_operations_are_not_stuck) {
    make_ready();
    const Account account = new_account(coins(1));
    EXPECT_EQ(grant(account, kMaxAmount, "g1").result, MoneyResult::out_of_range);
    EXPECT_EQ(grant(account, kMaxAmount, "g1").result, MoneyResult::out_of_range);
    EXPECT_EQ(grant(account, coins(1), "g2").result, MoneyResult::done);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(2 * kCoin));
    drain();
}

TEST_F(LedgerMoney, a_grant_while_redis_is_down_is_recorded_and_follows) {
    make_ready();
    const Account account = new_account(coins(1));
    drain();
    server.kill();
    const MoneyOutcome outcome = grant(account, coins(3), "g1");
    EXPECT_EQ(outcome.result, MoneyResult::recorded);
    EXPECT_EQ(book.unfinished(), 1u);
    server.start();
    book.repeat_unfinished();
    EXPECT_EQ(book.unfinished(), 1u) << "the bucket is not ready: no money moves (I10)";
    EXPECT_EQ(field(account.id, "bal"), std::to_string(kCoin));
    make_ready();
    book.repeat_unfinished();
    EXPECT_EQ(book.unfinished(), 0u);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(4 * kCoin));
    EXPECT_EQ(grant(account, coins(3), "g1").after, coins(4));
    drain();
}

TEST_F(LedgerMoney, a_grant_recorded_by_a_process_that_died_is_sent_by_another) {
    make_ready();
    const Account account = new_account(coins(1));
    drain();
    server.kill();
    grant(account, coins(3), "g1");
    server.start();
    make_ready();
    LedgerBook survivor(postgres, redis_pool);
    survivor.send_all_pending_money();
    EXPECT_EQ(field(account.id, "bal"), std::to_string(4 * kCoin));
    drain();
    EXPECT_EQ(number("select count(*) from money_ops o join account_balances b using (account_id) where o.opn > b.opn"),
              0);
}

TEST_F(LedgerMoney, an_operation_out_of_order_is_refused_and_a_repeat_is_recognised) {
    make_ready();
    const Account account = new_account(coins(1));
    MoneyOpArguments arguments;
    arguments.account = account.id;
    arguments.amount = coins(1);
    arguments.opn = 3;
    MoneyOpCall ahead(arguments);
    const std::string text = redis.call(ahead);
    const LedgerReply gap = parse_reply(Script::money_op, text);
    EXPECT_EQ(gap.reply, Reply::gap);
    EXPECT_EQ(gap.opn, 2);
    arguments.opn = 1;
    MoneyOpCall old(arguments);
    EXPECT_EQ(parse_reply(Script::money_op, redis.call(old)).reply, Reply::dup);
    EXPECT_EQ(field(account.id, "bal"), std::to_string(kCoin));
}

TEST_F(LedgerMoney, no_account_no_money) {
    make_ready();
    EXPECT_EQ(book.move_money({4711, MoneyOpKind::add, coins(1), "g1", "root", ""}).result, MoneyResult::no_account);
}

}  // namespace
}  // namespace lumen::admind

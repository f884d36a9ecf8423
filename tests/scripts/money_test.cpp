// Coins that come in: refills and the book's money operations.
#include "tests/scripts/ledger_fixture.h"

namespace lumen::testing {
namespace {

constexpr std::int64_t kStartHour = kStartMs / kHourMs;

class Money : public LedgerTest {
 protected:
    std::string refill(std::int64_t hour = -1) { return redis.run(RefillCall(account, hour)); }
    MoneyOpArguments operation(MoneyOpKind kind, std::int64_t amount) {
        MoneyOpArguments arguments;
        arguments.account = account;
        arguments.opn = opn + 1;
        arguments.kind = kind;
        arguments.amount = NanoCoins(amount);
        arguments.note = "ticket 12";
        return arguments;
    }
    std::string book(const MoneyOpArguments& arguments) {
        std::string reply = redis.run(MoneyOpCall(arguments));
        if (reply == "OK" || reply == "RANGE") ++opn;
        return reply;
    }
    void rate(std::int64_t nano) {
        account_config.rate = NanoCoins(nano);
        configure();
    }
};

// T12, I12
TEST_F(Money, refill_credits_each_missed_hour_once) {
    rate(100);
    EXPECT_EQ(refill(), "SAME");
    advance_ms(3 * kHourMs + 5);
    EXPECT_EQ(refill(), "OK");
    EXPECT_EQ(account_field("bal"), "300");
    const auto before = state();
    EXPECT_EQ(refill(), "SAME");
    EXPECT_EQ(refill(kStartHour + 3), "SAME");
    EXPECT_EQ(refill(kStartHour + 1), "SAME") << "an older hour";
    EXPECT_EQ(state(), before);
}

TEST_F(Money, refill_fills_up_to_the_limit_and_ticks_off_the_hour_when_full) {
    rate(100);
    grant(950);
    advance_ms(kHourMs);
    EXPECT_EQ(refill(), "OK");
    EXPECT_EQ(account_field("bal"), "1000");
    advance_ms(kHourMs);
    EXPECT_EQ(refill(), "FULL");
    EXPECT_EQ(account_field("lrh"), std::to_string(kStartHour + 2));
    settle(costing(admitted(1), 700));
    EXPECT_EQ(refill(), "SAME") << "the hours it was full are not kept for later";
    EXPECT_EQ(account_field("bal"), "300");
}

TEST_F(Money, refill_never_lowers_a_balance_above_the_limit) {
    rate(100);
    grant(5000);
    advance_ms(kHourMs);
    EXPECT_EQ(refill(), "FULL");
    EXPECT_EQ(account_field("bal"), "5000");
}

TEST_F(Money, refill_of_unlimited_unbudgeted_and_rateless_accounts_is_full) {
    advance_ms(kHourMs);
    EXPECT_EQ(refill(), "FULL") << "rate 0";
    rate(100);
    account_config.unlimited = true;
    configure();
    advance_ms(kHourMs);
    EXPECT_EQ(refill(), "FULL") << "unlimited";
    account_config.unlimited = false;
    account_config.limit.reset();
    configure();
    advance_ms(kHourMs);
    EXPECT_EQ(refill(), "FULL") << "no budget";
    EXPECT_EQ(account_field("bal"), "0");
    EXPECT_TRUE(redis.events(bucket).empty());
}

TEST_F(Money, refill_of_a_stranger_is_noacct) {
    EXPECT_EQ(redis.run(RefillCall(account + kBuckets, -1)), "NOACCT");
}

TEST_F(Money, refill_of_many_hours_at_the_highest_rate_stops_at_the_limit_exactly) {
    account_config.limit = NanoCoins(kM - 7);
    rate(kM);
    settle(costing(redis.run(MoneyOpCall(operation(MoneyOpKind::add, 1))) == "OK" ? admitted(0) : new_request(), 4));
    advance_ms(100'000 * kHourMs);
    EXPECT_EQ(refill(), "OK");
    EXPECT_EQ(account_field("bal"), std::to_string(kM - 7));
}

TEST_F(Money, hours_before_a_change_of_rate_are_credited_at_the_old_rate) {
    rate(100);
    advance_ms(2 * kHourMs);
    rate(1);
    EXPECT_EQ(account_field("bal"), "200");
    EXPECT_EQ(refill(), "SAME");
}

TEST_F(Money, a_change_of_rate_while_not_ready_moves_no_money_and_no_hour_is_lost_or_doubled) {
    rate(100);
    redis.run(BeginRebuildCall(bucket, "n2"));
    advance_ms(2 * kHourMs);
    rate(50);
    EXPECT_EQ(account_field("bal"), "0");
    EXPECT_EQ(refill(), "NOTREADY");
    EXPECT_EQ(redis.run(MarkReadyCall(bucket, "n2", redis.replication_id())), "OK");
    EXPECT_EQ(refill(), "OK");
    EXPECT_EQ(account_field("bal"), "100");
    EXPECT_EQ(refill(), "SAME");
}

TEST_F(Money, a_wallet_rebuilt_after_being_full_for_long_is_not_filled_for_those_hours) {
    rate(100);
    advance_ms(50 * kHourMs);
    redis.run(BeginRebuildCall(bucket, "n2"));
    LoadAccountArguments loaded;
    loaded.account = account;
    loaded.balance = NanoCoins(10);
    loaded.last_refill_hour = kStartHour + 49;
    EXPECT_EQ(redis.run(LoadAccountCall("n2", loaded)), "OK");
    EXPECT_EQ(redis.run(MarkReadyCall(bucket, "n2", redis.replication_id())), "OK");
    EXPECT_EQ(refill(), "OK");
    EXPECT_EQ(account_field("bal"), "110");
}

TEST_F(Money, a_grant_is_booked_once_by_its_number) {
    const MoneyOpArguments first = operation(MoneyOpKind::add, 250);
    EXPECT_EQ(book(first), "OK");
    EXPECT_EQ(last_event(), "grant " + std::to_string(account) + " - 250 0 250 1 " + std::to_string(kStartHour) + ' ' +
                                std::to_string(kStartMs) + " - 1 ticket 12");
    const auto before = state();
    EXPECT_EQ(redis.run(MoneyOpCall(first)), "DUP");
    MoneyOpArguments ahead = operation(MoneyOpKind::add, 1);
    ahead.opn = 4;
    EXPECT_EQ(redis.run(MoneyOpCall(ahead)), "GAP 2");
    EXPECT_EQ(state(), before);
}

TEST_F(Money, a_grant_may_be_negative_or_0) {
    EXPECT_EQ(book(operation(MoneyOpKind::add, -40)), "OK");
    EXPECT_EQ(book(operation(MoneyOpKind::add, 0)), "OK");
    EXPECT_EQ(account_field("bal"), "-40");
    EXPECT_EQ(account_field("seq"), "2");
}

TEST_F(Money, a_grant_beyond_m_is_range_and_its_number_is_used_up) {
    EXPECT_EQ(book(operation(MoneyOpKind::add, kM)), "OK");
    EXPECT_EQ(book(operation(MoneyOpKind::add, 1)), "RANGE");
    EXPECT_EQ(account_field("bal"), std::to_string(kM));
    EXPECT_EQ(last_event().substr(0, last_event().find(" 2 ")),
              "grant " + std::to_string(account) + " - 0 0 " + std::to_string(kM));
    EXPECT_EQ(book(operation(MoneyOpKind::add, -kM)), "OK");
    EXPECT_EQ(book(operation(MoneyOpKind::add, kM + 1)), "RANGE");
    EXPECT_EQ(book(operation(MoneyOpKind::add, -kM - 1)), "RANGE");
    EXPECT_EQ(account_field("bal"), "0");
    EXPECT_EQ(account_field("opn"), "5");
}

TEST_F(Money, a_reset_sets_the_balance_across_the_whole_range_exactly) {
    EXPECT_EQ(book(operation(MoneyOpKind::set, kM - 1)), "OK");
    EXPECT_EQ(book(operation(MoneyOpKind::set, -kM)), "OK");
    EXPECT_EQ(account_field("bal"), std::to_string(-kM));
    EXPECT_EQ(last_event().substr(0, last_event().find(" 2 ")),
              "adjust " + std::to_string(account) + " - -7999999999999999 0 " + std::to_string(-kM));
    EXPECT_EQ(book(operation(MoneyOpKind::set, kM + 1)), "RANGE");
    EXPECT_EQ(book(operation(MoneyOpKind::set, 0)), "OK");
    EXPECT_EQ(account_field("bal"), "0");
}

TEST_F(Money, a_correction_ignores_m_counts_under_the_cap_and_spares_the_unlimited) {
    key_config.cap = NanoCoins(100);
    configure();
    EXPECT_EQ(book(operation(MoneyOpKind::set, -kM)), "OK");
    MoneyOpArguments correction = operation(MoneyOpKind::late, -25);
    correction.cost = NanoCoins(25);
    correction.key = key;
    EXPECT_EQ(book(correction), "OK");
    EXPECT_EQ(account_field("bal"), std::to_string(-kM - 25));
    EXPECT_EQ(key_field("cu"), "25");

    account_config.unlimited = true;
    configure();
    correction.opn = opn + 1;
    EXPECT_EQ(book(correction), "OK");
    EXPECT_EQ(account_field("bal"), std::to_string(-kM - 25));
    EXPECT_EQ(key_field("cu"), "50");
    EXPECT_NE(last_event().find(" 7 0 25 "), std::string::npos) << last_event();
}

TEST_F(Money, an_operation_on_a_stranger_is_noacct) {
    MoneyOpArguments stranger = operation(MoneyOpKind::add, 1);
    stranger.account = account + kBuckets;
    EXPECT_EQ(redis.run(MoneyOpCall(stranger)), "NOACCT");
}

}  // namespace
}  // namespace lumen::testing

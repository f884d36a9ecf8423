// The end of a request: settle, void, renew, reap, and all the orders in which they can meet.
#include "tests/scripts/ledger_fixture.h"

namespace lumen::testing {
namespace {

class Settle : public LedgerTest {
 protected:
    Settle() { grant(500); }

    SettleArguments voiding(const RequestId& request) const {
        SettleArguments arguments = costing(request, 0);
        arguments.is_void = true;
        return arguments;
    }
    RenewArguments renewing(const RequestId& request, std::int64_t amount, std::int64_t shadow) const {
        RenewArguments arguments;
        arguments.request = request;
        arguments.account = account;
        arguments.key = key;
        arguments.amount = NanoCoins(amount);
        arguments.shadow = NanoCoins(shadow);
        return arguments;
    }
    std::string renew(const RenewArguments& arguments) { return redis.run(RenewCall(arguments)); }
    std::string reap(const RequestId& request) { return redis.run(ReapCall(request, account, key)); }
    std::string hold(const RequestId& request) {
        return redis.field(bucket_key(bucket, "holds"), std::string(request.view()));
    }
    void expect_nothing_held() {
        EXPECT_EQ(account_field("held"), "0");
        EXPECT_EQ(account_field("nh"), "0");
        EXPECT_EQ(key_field("nh"), "0");
        EXPECT_EQ(redis.command({"HLEN", bucket_key(bucket, "holds")}), "0");
    }
};

TEST_F(Settle, replaces_the_hold_by_the_cost_and_writes_one_event) {
    const RequestId request = admitted(100);
    EXPECT_EQ(settle(costing(request, 30)), "OK 470 0 " + token);
    expect_nothing_held();
    EXPECT_EQ(last_event(), "usage " + std::to_string(account) + " 7 -30 30 470 2 " +
                                std::to_string(kStartMs / kHourMs) + ' ' + std::to_string(kStartMs) + ' ' +
                                std::string(request.view()) + " - 4,5,6");
}

TEST_F(Settle, a_cost_of_0_is_an_event_and_costs_nothing) {
    EXPECT_EQ(settle(costing(admitted(0), 0)), "OK 500 0 " + token);
    expect_nothing_held();
    EXPECT_EQ(redis.events(bucket).size(), 2U);
}

TEST_F(Settle, may_cost_more_than_was_held_and_more_than_there_is) {
    EXPECT_EQ(settle(costing(admitted(1), 800)), "OK -300 0 " + token);
    EXPECT_EQ(admit(1), "COINS -300 0 1000 0");
}

TEST_F(Settle, twice_is_dup_and_changes_only_the_count_of_dups) {
    const SettleArguments arguments = costing(admitted(100), 30);
    settle(arguments);
    auto before = state();
    EXPECT_EQ(settle(arguments), "DUP " + token);
    before[bucket_key(bucket, "meta")]["dups"] = "1";
    EXPECT_EQ(state(), before);
}

TEST_F(Settle, a_void_gives_the_hold_back_without_an_event) {
    const RequestId request = admitted(100);
    EXPECT_EQ(settle(voiding(request)), "OK 500 0 " + token);
    expect_nothing_held();
    EXPECT_EQ(redis.events(bucket).size(), 1U);
    EXPECT_EQ(settle(voiding(request)), "DUP " + token);
    EXPECT_EQ(settle(costing(request, 5)), "DUP " + token);
}

TEST_F(Settle, a_void_of_nothing_is_none_once_then_dup) {
    const RequestId request = new_request();
    EXPECT_EQ(settle(voiding(request)), "NONE " + token);
    EXPECT_EQ(settle(voiding(request)), "DUP " + token);
    EXPECT_EQ(redis.events(bucket).size(), 1U);
}

TEST_F(Settle, of_a_request_never_held_is_late_with_its_cost_and_moves_nothing) {
    const RequestId request = new_request();
    EXPECT_EQ(settle(costing(request, 12)), "LATE " + token);
    EXPECT_EQ(account_field("bal"), "500");
    EXPECT_EQ(last_event(), "late " + std::to_string(account) + " 7 0 12 - - " + std::to_string(kStartMs / kHourMs) +
                                ' ' + std::to_string(kStartMs) + ' ' + std::string(request.view()) + " - 4,5,6");
    EXPECT_EQ(settle(costing(request, 12)), "DUP " + token);
}

TEST_F(Settle, of_another_account_or_key_is_range_and_leaves_the_hold) {
    const RequestId request = admitted(100);
    const auto before = state();
    SettleArguments stranger = costing(request, 5);
    stranger.key = 8;
    EXPECT_EQ(settle(stranger), "RANGE");
    stranger.key = key;
    stranger.account = account + kBuckets;
    EXPECT_EQ(settle(stranger), "RANGE");
    EXPECT_EQ(state(), before);
}

TEST_F(Settle, a_cost_beyond_m_is_range_and_leaves_the_hold) {
    const RequestId request = admitted(100);
    const auto before = state();
    EXPECT_EQ(settle(costing(request, kM + 1)), "RANGE");
    EXPECT_EQ(settle(costing(request, -1)), "RANGE");
    EXPECT_EQ(state(), before);
}

TEST_F(Settle, stays_exact_where_doubles_are_not) {
    std::int64_t balance = 500;
    for (int i = 0; i < 4; ++i) {
        account_config.unlimited = false;
        redis.command({"HSET", account_key(account), "bal", "500"});  // as if topped up: admits stop beyond M
        admitted(0);
    }
    for (const auto& [request, text] : redis.hash(bucket_key(bucket, "holds"))) {
        SettleArguments arguments = costing(new_request(), kM - 1);
        std::copy(request.begin(), request.end(), arguments.request.text.begin());
        balance -= kM - 1;
        EXPECT_EQ(settle(arguments), "OK " + std::to_string(balance) + " 0 " + token);
    }
    EXPECT_EQ(account_field("bal"), "-15999999999999496");
    EXPECT_EQ(admit(1), "RANGE");
}

TEST_F(Settle, of_an_unlimited_account_counts_but_moves_nothing_even_if_it_is_limited_by_then) {
    account_config.unlimited = true;
    configure();
    const RequestId request = admitted(100);
    account_config.unlimited = false;
    configure();
    EXPECT_EQ(settle(costing(request, 30)), "OK 500 0 " + token);
    EXPECT_NE(last_event().find(" 7 0 30 500 "), std::string::npos) << last_event();
}

TEST_F(Settle, ids_are_remembered_over_one_rotation_and_forgotten_after_two) {
    const SettleArguments old = costing(admitted(1), 1);
    settle(old);
    advance_ms(600'001);
    settle(costing(admitted(1), 1));
    EXPECT_EQ(redis.list({"SMEMBERS", bucket_key(bucket, "done1")}).size(), 1U);
    EXPECT_EQ(settle(old), "DUP " + token);
    advance_ms(600'001);
    settle(costing(admitted(1), 1));
    EXPECT_EQ(settle(old), "LATE " + token);
}

TEST_F(Settle, that_cannot_be_done_is_an_error_that_leaves_nothing_behind) {
    const RequestId request = admitted(100);
    redis.command({"HDEL", account_key(account), "held"});  // no script does this
    const auto before = state();
    EXPECT_EQ(parse_reply(Script::settle, settle(costing(request, 30))).reply, Reply::malformed);
    EXPECT_EQ(state(), before);
}

TEST_F(Settle, of_a_key_that_was_lost_charges_the_account_and_makes_no_partial_key) {
    key_config.limits.tokens[0] = {1000, 60};
    key_config.cap = NanoCoins(500);
    configure();
    const RequestId request = admitted(100);
    redis.command({"DEL", api_key_key(account, key)});
    EXPECT_EQ(settle(costing(request, 30)), "OK 470 0 " + token);
    EXPECT_EQ(redis.command({"EXISTS", api_key_key(account, key)}), "0");
}

TEST_F(Settle, of_a_key_that_was_lost_and_then_revoked_charges_the_account) {
    const RequestId request = admitted(100);
    redis.command({"DEL", api_key_key(account, key)});
    key_config.version = 0;
    key_config.state = KeyState::revoked;
    EXPECT_EQ(redis.run(SetKeyCall(key_config)), "OK");
    EXPECT_EQ(settle(costing(request, 30)), "OK 470 0 " + token);
}

TEST_F(Settle, renew_moves_the_hold_both_ways_and_notes_the_shadow) {
    const RequestId request = admitted(100);
    advance_ms(2000);
    EXPECT_EQ(renew(renewing(request, 250, 60)), "OK 500 1");
    EXPECT_EQ(account_field("held"), "250");
    EXPECT_EQ(hold(request),
              "250 60 " + std::to_string(now_ms + 90'000) + " ln " + std::to_string(account) + " 7 0 1,2,3");
    EXPECT_EQ(renew(renewing(request, 10, 60)), "OK 500 1");
    EXPECT_EQ(account_field("held"), "10");
    EXPECT_EQ(renew(renewing(request, 0, 0)), "OK 500 1");
    settle(costing(request, 1));
    expect_nothing_held();
}

TEST_F(Settle, renew_in_strict_mode_takes_what_is_free_and_not_one_nano_coin_more) {
    account_config.strict = true;
    configure();
    const RequestId request = admitted(100);
    const RequestId other = admitted(300);
    EXPECT_EQ(renew(renewing(request, 200, 50)), "OK 500 1");
    EXPECT_EQ(renew(renewing(request, 201, 70)), "REFUSED");
    EXPECT_EQ(account_field("held"), "500");
    // What it has cost so far is noted all the same: the reaper must charge it.
    EXPECT_EQ(hold(request).substr(0, 7), "200 70 ");
    EXPECT_EQ(renew(renewing(request, 199, 70)), "OK 500 1");
    settle(costing(other, 300));
    settle(costing(request, 70));
    EXPECT_EQ(account_field("bal"), "130");
}

TEST_F(Settle, renew_in_soft_mode_may_hold_more_than_there_is_up_to_m) {
    const RequestId request = admitted(1);
    EXPECT_EQ(renew(renewing(request, kM, 0)), "OK 500 1");
    EXPECT_EQ(renew(renewing(request, kM + 1, 0)), "RANGE");
    const RequestId another = new_request();
    EXPECT_EQ(renew(renewing(another, 1, 0)), "GONE");
}

TEST_F(Settle, renew_says_that_the_account_was_deactivated) {
    const RequestId request = admitted(1);
    account_config.active = false;
    configure();
    EXPECT_EQ(renew(renewing(request, 1, 0)), "OK 500 2");
}

TEST_F(Settle, renew_counts_under_the_key_cap_it_was_admitted_under) {
    key_config.cap = NanoCoins(100);
    configure();
    const RequestId request = admitted(10);
    renew(renewing(request, 40, 0));
    EXPECT_EQ(key_field("kh"), "40");
    settle(costing(request, 35));
    EXPECT_EQ(key_field("kh"), "0");
    EXPECT_EQ(key_field("cu"), "35");
}

TEST_F(Settle, renew_and_reap_trust_the_hold_not_the_caller) {
    const RequestId request = admitted(100);
    const auto before = state();
    RenewArguments stranger = renewing(request, 200, 10);
    stranger.account = account + kBuckets;
    EXPECT_EQ(renew(stranger), "RANGE");
    stranger.account = account;
    stranger.key = 8;
    EXPECT_EQ(renew(stranger), "RANGE");
    EXPECT_EQ(redis.run(ReapCall(request, account + kBuckets, key)), "RANGE");
    EXPECT_EQ(state(), before);
}

TEST_F(Settle, reap_waits_for_the_deadline_then_charges_the_shadow) {
    const RequestId request = admitted(100);
    renew(renewing(request, 100, 40));
    advance_ms(89'999);
    EXPECT_EQ(reap(request), "NOTYET");
    advance_ms(1);
    EXPECT_EQ(reap(request), "OK 460 0");
    expect_nothing_held();
    EXPECT_EQ(last_event().substr(0, 5), "reap ");
    EXPECT_EQ(last_event().substr(last_event().size() - 6), " 1,2,3");
    EXPECT_EQ(reap(request), "GONE");
    EXPECT_EQ(renew(renewing(request, 100, 50)), "GONE");
}

TEST_F(Settle, reap_of_a_hold_without_a_shadow_charges_nothing) {
    const RequestId request = admitted(100);
    advance_ms(90'000);
    EXPECT_EQ(reap(request), "OK 500 0");
}

// T3
TEST_F(Settle, after_a_reap_settles_are_late_then_dup_and_one_correction_pays_the_rest) {
    const RequestId request = admitted(100);
    renew(renewing(request, 100, 40));
    advance_ms(90'000);
    EXPECT_EQ(reap(request), "OK 460 0");
    EXPECT_EQ(settle(costing(request, 55)), "LATE " + token);
    EXPECT_EQ(settle(costing(request, 55)), "DUP " + token);
    EXPECT_EQ(account_field("bal"), "460");

    MoneyOpArguments correction;
    correction.account = account;
    correction.key = key;
    correction.opn = ++opn;
    correction.kind = MoneyOpKind::late;
    correction.amount = NanoCoins(-15);
    correction.cost = NanoCoins(15);
    correction.request = request.view();
    correction.note = "4,5,6";
    EXPECT_EQ(redis.run(MoneyOpCall(correction)), "OK");
    EXPECT_EQ(redis.run(MoneyOpCall(correction)), "DUP");
    EXPECT_EQ(account_field("bal"), "445");
    EXPECT_EQ(last_event(), "correction " + std::to_string(account) + " 7 -15 15 445 3 " +
                                std::to_string(kStartMs / kHourMs) + ' ' + std::to_string(now_ms) + ' ' +
                                std::string(request.view()) + " 2 4,5,6");
    expect_nothing_held();
}

}  // namespace
}  // namespace lumen::testing

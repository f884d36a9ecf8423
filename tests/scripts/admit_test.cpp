// Admission: every row of the table in ledger.md §4, in its order, and what each refusal leaves behind.
#include "tests/scripts/ledger_fixture.h"

namespace lumen::testing {
namespace {

class Admit : public LedgerTest {
 protected:
    void strict() {
        account_config.strict = true;
        configure();
    }
    /// A refusal from test 2 on changes only the key's `last`.
    void expect_refused_leaving_only_last(const AdmitArguments& arguments, const std::string& reply) {
        auto before = state();
        EXPECT_EQ(admit(arguments), reply);
        before[api_key_key(account, key)]["last"] = std::to_string(now_ms);
        EXPECT_EQ(state(), before);
    }
    void expect_refused_leaving_nothing(const AdmitArguments& arguments, const std::string& reply) {
        const auto before = state();
        EXPECT_EQ(admit(arguments), reply);
        EXPECT_EQ(state(), before);
    }
};

TEST_F(Admit, ok_takes_the_hold_and_counts_the_request) {
    grant(500);
    AdmitArguments arguments = asking(100);
    arguments.estimated_tokens = 42;
    EXPECT_EQ(admit(arguments), "OK 500 100 0 - -");
    EXPECT_EQ(account_field("held"), "100");
    EXPECT_EQ(account_field("nh"), "1");
    EXPECT_EQ(key_field("nh"), "1");
    EXPECT_EQ(key_field("last"), std::to_string(kStartMs));
    EXPECT_EQ(redis.field(bucket_key(bucket, "holds"), std::string(arguments.request.view())),
              "100 0 " + std::to_string(kStartMs + 90'000) + " ln " + std::to_string(account) + " 7 42 1,2,3");
}

TEST_F(Admit, ok_with_a_hold_of_0_still_counts_as_in_flight) {
    grant(1);
    EXPECT_EQ(admit(0), "OK 1 0 0 - -");
    EXPECT_EQ(account_field("nh"), "1");
}

// Test 1
TEST_F(Admit, an_unknown_key_is_nokey_and_leaves_no_trace) {
    grant(500);
    AdmitArguments arguments = asking(1);
    arguments.identity.key = 999;
    expect_refused_leaving_nothing(arguments, "NOKEY");
    EXPECT_EQ(redis.command({"EXISTS", api_key_key(account, 999)}), "0");
}

TEST_F(Admit, a_key_of_another_account_is_nokey) {
    AdmitArguments arguments = asking(1);
    arguments.identity.account = account + kBuckets;
    expect_refused_leaving_nothing(arguments, "NOKEY");
}

TEST_F(Admit, a_revoked_key_is_revoked_before_anything_else_is_looked_at) {
    account_config.active = false;
    key_config.state = KeyState::revoked;
    configure();
    expect_refused_leaving_nothing(asking(1), "REVOKED");
}

TEST_F(Admit, a_paused_key_answers_as_revoked_and_comes_back) {
    grant(10);
    key_config.state = KeyState::paused;
    configure();
    EXPECT_EQ(admit(1), "REVOKED");
    key_config.state = KeyState::active;
    configure();
    EXPECT_EQ(admit(1), "OK 10 1 0 - -");
}

TEST_F(Admit, a_key_expires_at_its_millisecond_not_before) {
    grant(10);
    key_config.expires_at_ms = kStartMs + 1;
    configure();
    EXPECT_EQ(admit(1), "OK 10 1 0 - -");
    advance_ms(1);
    expect_refused_leaving_nothing(asking(1), "EXPIRED");
}

TEST_F(Admit, a_key_without_its_account_is_noacct) {
    redis.command({"DEL", account_key(account)});
    expect_refused_leaving_nothing(asking(1), "NOACCT");
}

// Test 2
TEST_F(Admit, a_deactivated_account_is_disabled_even_with_a_wrong_policy) {
    account_config.active = false;
    configure();
    AdmitArguments arguments = asking(1);
    arguments.identity.account_policy = 9;
    advance_ms(5);
    expect_refused_leaving_only_last(arguments, "DISABLED");
}

// Test 3
TEST_F(Admit, another_policy_than_believed_is_told_and_nothing_is_done) {
    grant(10);
    key_config.policy = 4;
    configure();
    advance_ms(5);
    AdmitArguments arguments = asking(1);
    arguments.identity.account_policy = 2;
    expect_refused_leaving_nothing(arguments, "POLICY 1 4");
    arguments.identity.account_policy = 0;  // knows none
    expect_refused_leaving_nothing(arguments, "POLICY 1 4");
    arguments.identity.account_policy = 1;
    arguments.identity.key_policy = 0;
    expect_refused_leaving_nothing(arguments, "POLICY 1 4");
    arguments.identity.key_policy = 4;
    EXPECT_EQ(admit(arguments), "OK 10 1 0 - -");
}

TEST_F(Admit, an_account_without_a_policy_admits_nobody) {
    account_config.policy = 0;
    configure();
    expect_refused_leaving_nothing(asking(1), "POLICY - -");
}

// Test 4
TEST_F(Admit, consent_must_be_as_new_as_the_model_asks) {
    grant(10);
    AdmitArguments arguments = asking(1);
    arguments.consent_model = 3;
    arguments.consent_since = 2;
    expect_refused_leaving_only_last(arguments, "CONSENT");
    const auto consent = [&](std::int32_t notice) {
        account_config.version = ++version;
        SetAccountCall call(account_config);
        call.add_consent(3, notice);
        EXPECT_EQ(redis.run(call), "OK");
    };
    consent(1);
    expect_refused_leaving_only_last(arguments, "CONSENT");
    consent(2);
    EXPECT_EQ(admit(arguments), "OK 10 1 0 - -");
    consent(1);  // an older consent does not undo a newer one
    EXPECT_EQ(account_field("c:3"), "2");
}

// Test 5
TEST_F(Admit, the_same_request_again_is_ok_again_and_changes_nothing) {
    grant(500);
    const AdmitArguments arguments = asking(100);
    EXPECT_EQ(admit(arguments), "OK 500 100 0 - -");
    advance_ms(5);
    expect_refused_leaving_nothing(arguments, "OK 500 100 0 - - again");
}

TEST_F(Admit, a_request_held_by_another_key_is_range) {
    grant(500);
    const AdmitArguments first = asking(100);
    EXPECT_EQ(admit(first), "OK 500 100 0 - -");
    KeyConfig other = key_config;
    other.key = 8;
    EXPECT_EQ(redis.run(SetKeyCall(other)), "OK");
    AdmitArguments stranger = first;
    stranger.identity.key = 8;
    EXPECT_EQ(admit(stranger), "RANGE");
}

TEST_F(Admit, a_void_that_overtook_its_admit_makes_it_gone) {
    grant(500);
    const AdmitArguments arguments = asking(100);
    SettleArguments voided = costing(arguments.request, 0);
    voided.is_void = true;
    EXPECT_EQ(settle(voided), "NONE " + token);
    expect_refused_leaving_only_last(arguments, "GONE");
    advance_ms(660'000);
    settle(costing(admitted(0), 0));  // rotates the ids
    expect_refused_leaving_only_last(arguments, "GONE");
}

// Test 6
TEST_F(Admit, amounts_beyond_m_are_range_before_the_budget_is_looked_at) {
    account_config.limit.reset();
    configure();
    expect_refused_leaving_only_last(asking(kM + 1), "RANGE");
    expect_refused_leaving_only_last(asking(-1), "RANGE");
    expect_refused_leaving_only_last(asking(kM), "NOBUDGET");
    AdmitArguments tokens = asking(1);
    tokens.estimated_tokens = static_cast<std::uint64_t>(kM) + 1;
    expect_refused_leaving_only_last(tokens, "RANGE");
}

TEST_F(Admit, held_never_passes_m_not_even_for_an_unlimited_account) {
    account_config.unlimited = true;
    configure();
    EXPECT_EQ(admit(kM - 1), "OK 0 " + std::to_string(kM - 1) + " 1 - -");
    expect_refused_leaving_only_last(asking(2), "RANGE");
    EXPECT_EQ(admit(1), "OK 0 " + std::to_string(kM) + " 1 - -");
}

TEST_F(Admit, malformed_amounts_are_range_and_never_an_error_in_mid_script) {
    grant(500);
    for (const char* hold : {"007", "-0", "1e3", "", " 1", "1.5", "99999999999999999", "0x10"}) {
        AdmitCall call(asking(0));
        call.argv()[3 + 2 + 3] = hold;
        const_cast<std::size_t*>(call.argv_lengths())[3 + 2 + 3] = std::string_view(hold).size();
        EXPECT_EQ(redis.run(call), "RANGE") << hold;
    }
    EXPECT_EQ(account_field("nh"), "0");
}

// Test 7
TEST_F(Admit, no_limit_is_nobudget_and_a_limit_of_0_is_coins_whatever_the_balance) {
    grant(500);
    account_config.limit.reset();
    configure();
    expect_refused_leaving_only_last(asking(1), "NOBUDGET");
    account_config.limit = NanoCoins(0);
    account_config.rate = NanoCoins(3);
    configure();
    expect_refused_leaving_only_last(asking(1), "COINS 500 0 0 3");
}

TEST_F(Admit, an_unlimited_account_needs_no_coins_and_no_budget) {
    account_config.unlimited = true;
    account_config.limit.reset();
    configure();
    const AdmitArguments arguments = asking(5);
    EXPECT_EQ(admit(arguments), "OK 0 5 1 - -");
    EXPECT_EQ(settle(costing(arguments.request, 9)), "OK 0 0 " + token);
}

// Test 8
TEST_F(Admit, an_empty_wallet_is_refilled_in_the_same_call_when_the_hour_has_passed) {
    account_config.rate = NanoCoins(300);
    configure();
    EXPECT_EQ(admit(10), "COINS 0 0 1000 300");
    advance_ms(2 * kHourMs);
    EXPECT_EQ(admit(10), "OK 600 10 0 - -");
    EXPECT_EQ(last_event(), "refill " + std::to_string(account) + " - 600 0 600 1 " +
                                std::to_string(kStartMs / kHourMs + 2) + ' ' + std::to_string(now_ms) + " - - -");
}

TEST_F(Admit, a_refill_that_does_not_help_stays_and_the_refusal_shows_it) {
    strict();
    account_config.rate = NanoCoins(300);
    configure();
    advance_ms(kHourMs);
    EXPECT_EQ(admit(400), "COINS 300 0 1000 300");
    EXPECT_EQ(account_field("bal"), "300");
    EXPECT_EQ(account_field("lrh"), std::to_string(kStartMs / kHourMs + 1));
}

// Tests 9, 10
TEST_F(Admit, strict_never_coins_held_and_ok_are_told_apart) {
    strict();
    grant(100);
    expect_refused_leaving_only_last(asking(1001), "NEVER");
    expect_refused_leaving_only_last(asking(101), "COINS 100 0 1000 0");
    EXPECT_EQ(admit(60), "OK 100 60 0 - -");
    expect_refused_leaving_only_last(asking(41), "HELD");
    EXPECT_EQ(admit(40), "OK 100 100 0 - -");
    expect_refused_leaving_only_last(asking(1), "HELD");
    EXPECT_EQ(admit(0), "OK 100 100 0 - -");
}

TEST_F(Admit, strict_with_a_balance_above_the_limit_may_use_it_whole) {
    strict();
    grant(2000);
    EXPECT_EQ(admit(2000), "OK 2000 2000 0 - -");
}

TEST_F(Admit, an_empty_wallet_blocks_a_free_request_too) {
    strict();
    expect_refused_leaving_only_last(asking(0), "COINS 0 0 1000 0");
    account_config.strict = false;
    configure();
    expect_refused_leaving_only_last(asking(0), "COINS 0 0 1000 0");
}

TEST_F(Admit, soft_starts_while_anything_is_free_and_waits_when_all_is_held) {
    grant(100);
    EXPECT_EQ(admit(99), "OK 100 99 0 - -");
    EXPECT_EQ(admit(500), "OK 100 599 0 - -");
    expect_refused_leaving_only_last(asking(1), "HELD");
}

// Test 11
TEST_F(Admit, a_soft_key_cap_refuses_once_spent_and_held_reach_it) {
    grant(1000);
    key_config.cap = NanoCoins(100);
    configure();
    const RequestId first = admitted(60);
    EXPECT_EQ(key_field("kh"), "60");
    EXPECT_EQ(settle(costing(first, 70)), "OK 930 0 " + token);
    EXPECT_EQ(key_field("cu"), "70");
    EXPECT_EQ(key_field("kh"), "0");
    admitted(30);
    expect_refused_leaving_only_last(asking(1), "KEYCAP 100 70 0");
}

TEST_F(Admit, a_strict_key_cap_admits_what_fits_to_the_last_nano_coin) {
    grant(1000);
    strict();
    key_config.cap = NanoCoins(100);
    configure();
    EXPECT_EQ(admit(101), "KEYCAP 100 0 0");
    admitted(100);
    expect_refused_leaving_only_last(asking(1), "KEYCAP 100 0 0");
}

TEST_F(Admit, a_key_cap_near_m_is_exact) {
    account_config.limit = kMaxAmount;
    configure();
    grant(kM);
    strict();
    key_config.cap = kMaxAmount;
    configure();
    EXPECT_EQ(settle(costing(admitted(kM - 1), kM - 1)).substr(0, 3), "OK ");
    EXPECT_EQ(admit(2), "COINS 1 0 " + std::to_string(kM) + " 0");
    EXPECT_EQ(admit(1), "OK 1 1 0 - -");
    EXPECT_EQ(key_field("cu"), std::to_string(kM - 1));
}

TEST_F(Admit, a_window_that_ended_takes_its_count_with_it) {
    grant(1000);
    key_config.cap = NanoCoins(100);
    key_config.cap_window_ms = 1000;
    key_config.cap_window_end_ms = kStartMs + 500;
    configure();
    settle(costing(admitted(1), 100));
    EXPECT_EQ(admit(1), "KEYCAP 100 100 " + std::to_string(kStartMs + 500));
    advance_ms(2700);
    EXPECT_EQ(admit(1), "OK 900 1 0 - -");
    EXPECT_EQ(key_field("cu"), "0");
    EXPECT_EQ(key_field("ce"), std::to_string(kStartMs + 3500));
}

TEST_F(Admit, a_cost_is_counted_in_the_window_it_is_settled_in) {
    grant(1000);
    key_config.cap = NanoCoins(100);
    key_config.cap_window_ms = 1000;
    key_config.cap_window_end_ms = kStartMs + 500;
    configure();
    settle(costing(admitted(1), 30));
    const RequestId running = admitted(1);
    advance_ms(500);
    settle(costing(running, 40));
    EXPECT_EQ(key_field("cu"), "40");
    EXPECT_EQ(key_field("ce"), std::to_string(kStartMs + 1500));
}

// Test 12
TEST_F(Admit, concurrency_of_account_and_of_key_end_with_the_requests) {
    grant(1000);
    account_config.limits.concurrency = 2;
    configure();
    const RequestId first = admitted(1);
    admitted(1);
    expect_refused_leaving_only_last(asking(1), "CONC");
    settle(costing(first, 0));
    admitted(1);
    account_config.limits.concurrency = 0;
    key_config.limits.concurrency = 2;
    configure();
    expect_refused_leaving_only_last(asking(1), "CONC");
}

TEST_F(Admit, auth_confirms_identity_and_policy_and_notes_the_call) {
    const auto auth = [&](PolicyId policy) { return redis.run(AuthCall({account, key, policy, 0})); };
    advance_ms(9);
    EXPECT_EQ(auth(1), "OK");
    EXPECT_EQ(key_field("last"), std::to_string(now_ms));
    EXPECT_EQ(auth(2), "POLICY 1 -");
    EXPECT_EQ(redis.run(AuthCall({account, 999, 1, 0})), "NOKEY");
    account_config.active = false;
    configure();
    EXPECT_EQ(auth(1), "DISABLED");
    key_config.expires_at_ms = 1;
    configure();
    EXPECT_EQ(auth(1), "EXPIRED");
    key_config.state = KeyState::revoked;
    configure();
    EXPECT_EQ(auth(1), "REVOKED");
}

TEST_F(Admit, auth_of_a_key_whose_account_is_missing_is_noacct) {
    redis.command({"DEL", account_key(account)});
    EXPECT_EQ(redis.run(AuthCall({account, key, 1, 0})), "NOACCT");
}

// I7
TEST_F(Admit, several_in_one_call_on_a_balance_for_two_are_two_as_if_they_came_alone) {
    grant(250);
    strict();
    const std::vector<AdmitArguments> admits{asking(100), asking(100), asking(100), asking(50)};
    EXPECT_EQ(redis.run(AdmitCall(admits.data(), admits.size())),
              "OK 250 100 0 - -\nOK 250 200 0 - -\nHELD\nOK 250 250 0 - -");
    EXPECT_EQ(account_field("held"), "250");
    EXPECT_EQ(account_field("nh"), "3");
    EXPECT_EQ(key_field("nh"), "3");
}

TEST_F(Admit, consent_is_asked_of_those_of_a_call_that_need_it) {
    grant(250);
    AdmitArguments needs = asking(1);
    needs.consent_model = 3;
    needs.consent_since = 1;
    const std::vector<AdmitArguments> admits{asking(1), needs, asking(1)};
    EXPECT_EQ(redis.run(AdmitCall(admits.data(), admits.size())), "OK 250 1 0 - -\nCONSENT\nOK 250 2 0 - -");
}

TEST_F(Admit, damaged_data_of_one_account_harms_no_other_of_the_call) {
    grant(250);
    AdmitArguments damaged = asking(1);
    damaged.identity.account = account + kBuckets;
    damaged.identity.key = 8;
    redis.command({"HSET", account_key(damaged.identity.account), "st", "1", "pol", "1", "mode", "0", "unl", "0", "lim",
                   "9", "bal", "x", "held", "0", "nh", "0"});
    redis.command({"HSET", api_key_key(account, 8), "acct", std::to_string(damaged.identity.account), "st", "1", "exp",
                   "0", "pol", "-", "nh", "0"});
    const std::vector<AdmitArguments> admits{asking(1), damaged, asking(1)};
    std::string text = redis.run(AdmitCall(admits.data(), admits.size()));
    std::string_view lines = text;
    EXPECT_EQ(next_reply_line(lines), "OK 250 1 0 - -");
    EXPECT_EQ(next_reply_line(lines).substr(0, 4), "ERR ");
    EXPECT_EQ(next_reply_line(lines), "OK 250 2 0 - -");
    EXPECT_EQ(lines, "");
}

}  // namespace
}  // namespace lumen::testing

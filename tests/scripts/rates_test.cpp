// Test 13 of admission (ledger.md §4): rates with periods of their own, of accounts and of keys.
#include "tests/scripts/ledger_fixture.h"

namespace lumen::testing {
namespace {

class RateLimits : public LedgerTest {
 protected:
    /// A refusal takes nothing and changes only the key's `last`.
    void expect_refused(const AdmitArguments& arguments, const std::string& reply) {
        auto before = state();
        EXPECT_EQ(admit(arguments), reply);
        before[api_key_key(account, key)]["last"] = std::to_string(now_ms);
        EXPECT_EQ(state(), before);
    }
};

TEST_F(RateLimits, a_rate_of_requests_allows_a_burst_of_a_period_then_one_by_one) {
    grant(1000);
    account_config.limits.requests[0] = {7, 60};  // 60 s / 7 is no whole number of µs
    configure();
    for (int left = 6; left >= 0; --left) {
        EXPECT_EQ(admit(1), "OK 1000 " + std::to_string(7 - left) + " 0 7/" + std::to_string(left) + '/' +
                                std::to_string((7 - left) * 8'571'428) + " -");
    }
    expect_refused(asking(1), "RPM 8571424 7/0/59999996 -");
    advance_ms(8'571);
    EXPECT_EQ(admit(1), "RPM 424 7/0/51428996 -");
    advance_ms(1);
    EXPECT_EQ(admit(1), "OK 1000 8 0 7/0/59999424 -");
}

struct RateRow {
    const char* name;
    Rate rate;
    std::int64_t between_ms;  ///< one passes after this and not a millisecond sooner
};
class OneRate : public RateLimits, public ::testing::WithParamInterface<RateRow> {};

TEST_P(OneRate, lets_its_limit_through_in_its_own_period) {
    grant(1000);
    const Rate rate = GetParam().rate;
    key_config.limits.requests[0] = rate;
    configure();
    for (std::int64_t i = 0; i < rate.limit; ++i) EXPECT_EQ(admit(1).substr(0, 3), "OK ") << i;
    EXPECT_EQ(admit(1).substr(0, 4), "RPM ");
    advance_ms(GetParam().between_ms - 1);
    EXPECT_EQ(admit(1).substr(0, 4), "RPM ");
    advance_ms(1);
    EXPECT_EQ(admit(1).substr(0, 3), "OK ");
    EXPECT_EQ(admit(1).substr(0, 4), "RPM ");
}

INSTANTIATE_TEST_SUITE_P(ledger_4_13, OneRate,
                         ::testing::Values(RateRow{"one_a_second", {1, 1}, 1'000},
                                           RateRow{"thirty_an_hour", {30, 3'600}, 120'000},
                                           RateRow{"five_in_ten_seconds", {5, 10}, 2'000},
                                           RateRow{"one_a_day", {1, 86'400}, 86'400'000},
                                           RateRow{"two_a_year", {2, 365 * 86'400}, 15'768'000'000}),
                         [](const auto& row) { return row.param.name; });

TEST_F(RateLimits, of_two_rates_the_shorter_forbids_bursts_and_the_longer_the_sum) {
    grant(1000);
    account_config.limits.requests = {Rate{2, 60}, Rate{3, 86'400}};
    configure();
    EXPECT_EQ(admit(1), "OK 1000 1 0 2/1/30000000 -");
    EXPECT_EQ(admit(1), "OK 1000 2 0 2/0/60000000 -");
    expect_refused(asking(1), "RPM 30000000 2/0/60000000 -");
    advance_ms(30'000);
    EXPECT_EQ(admit(1), "OK 1000 3 0 2/0/60000000 -");
    advance_ms(30'000);
    // A third of a day from the first one: the minute would let it pass, the day does not.
    EXPECT_EQ(admit(1), "RPM 28740000000 3/0/86340000000 -");
}

TEST_F(RateLimits, the_narrower_of_account_and_key_rate_answers) {
    grant(1000);
    account_config.limits.requests[0] = {100, 60};
    key_config.limits.requests[0] = {2, 60};
    configure();
    EXPECT_EQ(admit(1), "OK 1000 1 0 2/1/30000000 -");
    EXPECT_EQ(admit(1), "OK 1000 2 0 2/0/60000000 -");
    expect_refused(asking(1), "RPM 30000000 2/0/60000000 -");
}

TEST_F(RateLimits, the_wait_that_is_told_is_the_longest_of_all_rates_and_long_enough) {
    grant(1000);
    account_config.limits.requests[0] = {1, 10};
    key_config.limits.tokens[0] = {100, 60};
    configure();
    AdmitArguments arguments = asking(1);
    arguments.estimated_tokens = 100;
    EXPECT_EQ(admit(arguments), "OK 1000 1 0 1/0/10000000 100/0/60000000");
    AdmitArguments next = asking(1);
    next.estimated_tokens = 50;
    expect_refused(next, "RPM 30000000 1/0/10000000 100/0/60000000");
    advance_ms(29'999);
    EXPECT_EQ(admit(next), "TPM 1000 1/1/0 100/49/30001000");
    advance_ms(1);
    EXPECT_EQ(admit(next), "OK 1000 2 0 1/0/10000000 100/0/60000000");
}

TEST_F(RateLimits, a_rate_of_tokens_is_charged_by_estimate_and_corrected_by_use_for_account_and_key) {
    grant(1000);
    account_config.limits.tokens[0] = {600, 60};
    key_config.limits.tokens[1] = {36'000, 3'600};
    configure();
    AdmitArguments arguments = asking(1);
    arguments.estimated_tokens = 600;
    EXPECT_EQ(admit(arguments), "OK 1000 1 0 - 600/0/60000000");
    AdmitArguments next = asking(1);
    next.estimated_tokens = 100;
    expect_refused(next, "TPM 10000000 - 600/0/60000000");
    SettleArguments used = costing(arguments.request, 1);
    used.tokens = 500;
    settle(used);
    EXPECT_EQ(unpack_limits(account_field("limits"))->tokens_used_up_us[0], now_ms * 1000 + 50'000'000);
    EXPECT_EQ(unpack_limits(key_field("limits"))->tokens_used_up_us[1], now_ms * 1000 + 50'000'000);
    EXPECT_EQ(admit(next), "OK 999 1 0 - 600/0/60000000");
}

TEST_F(RateLimits, more_tokens_than_a_limit_has_never_pass_and_are_not_told_to_wait) {
    grant(1000);
    key_config.limits.tokens[0] = {10, 60};
    key_config.limits.requests[0] = {1, 60};
    configure();
    AdmitArguments arguments = asking(1);
    arguments.estimated_tokens = 11;
    expect_refused(arguments, "TOOLARGE");
    advance_ms(3'600'000);
    expect_refused(arguments, "TOOLARGE");
    arguments.estimated_tokens = 10;
    EXPECT_EQ(admit(arguments), "OK 1000 1 0 1/0/60000000 10/0/60000000");
    AdmitArguments larger = asking(1);
    larger.estimated_tokens = 11;
    expect_refused(larger, "TOOLARGE");  // and no wait for the requests' rate first
}

TEST_F(RateLimits, a_rate_that_is_configured_anew_keeps_its_time_and_a_changed_one_begins_unused) {
    grant(1000);
    key_config.limits.requests = {Rate{1, 60}, Rate{2, 3'600}};
    configure();
    EXPECT_EQ(admit(1).substr(0, 3), "OK ");
    configure();
    EXPECT_EQ(admit(1), "RPM 60000000 1/0/60000000 -");
    key_config.limits.requests[0] = {};
    configure();
    EXPECT_EQ(admit(1), "OK 1000 2 0 2/0/3600000000 -");
    key_config.limits.requests[1] = {3, 3'600};
    configure();
    EXPECT_EQ(admit(1), "OK 1000 3 0 3/2/1200000000 -");
    key_config.limits = {};
    configure();
    EXPECT_EQ(key_field("limits"), "(nil)");
    EXPECT_EQ(admit(1), "OK 1000 4 0 - -");
}

}  // namespace
}  // namespace lumen::testing

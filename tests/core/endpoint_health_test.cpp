#include "lumen_core/endpoint_health.h"
#include "tests/core/endpoint_moment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>

namespace lumen {
namespace {

constexpr std::int64_t kStart = 1'700'000'000'000;

EndpointHealth failed(int times, std::int64_t at) {
    EndpointHealth health;
    for (int i = 0; i < times; ++i) on_failure(health, at);
    return health;
}

TEST(endpoint_health, three_failures_in_a_row_eject_for_five_seconds) {
    EndpointHealth health = failed(2, kStart);
    EXPECT_EQ(endpoint_status(health, kStart), EndpointStatus::ready);
    on_failure(health, kStart);
    EXPECT_EQ(endpoint_status(health, kStart), EndpointStatus::ejected);
    EXPECT_EQ(endpoint_status(health, kStart + 4'999), EndpointStatus::ejected);
    EXPECT_EQ(endpoint_status(health, kStart + 5'000), EndpointStatus::trial);
    EXPECT_TRUE(trial_is_due(health, kStart + 5'000));
}

TEST(endpoint_health, an_answer_between_failures_starts_the_count_anew) {
    EndpointHealth health = failed(2, kStart);
    on_success(health, kStart, 1'000);
    on_failure(health, kStart);
    on_failure(health, kStart);
    EXPECT_EQ(endpoint_status(health, kStart), EndpointStatus::ready);
    on_busy(health, kStart, 0);
    on_failure(health, kStart);
    on_failure(health, kStart);
    EXPECT_EQ(endpoint_status(health, kStart), EndpointStatus::ready) << "a busy server is alive";
    on_failure(health, kStart);
    EXPECT_EQ(endpoint_status(health, kStart), EndpointStatus::ejected);
}

TEST(endpoint_health, ejection_doubles_with_each_failed_trial_up_to_a_minute) {
    EndpointHealth health = failed(3, kStart);
    std::int64_t now = kStart;
    for (const std::int64_t length_ms : {5'000, 10'000, 20'000, 40'000, 60'000, 60'000, 60'000}) {
        EXPECT_EQ(health.ejected_until_ms - now, length_ms);
        now = health.ejected_until_ms;
        ASSERT_TRUE(trial_is_due(health, now));
        begin_trial(health, now, kLease);
        now += 100;
        on_failure(health, now);
        ASSERT_EQ(endpoint_status(health, now), EndpointStatus::ejected) << "one failed trial is enough";
    }
}

TEST(endpoint_health, a_successful_trial_readmits_and_forgets) {
    EndpointHealth health = failed(3, kStart);
    begin_trial(health, kStart + 5'000, kLease);
    on_failure(health, kStart + 5'100);
    begin_trial(health, kStart + 15'100, kLease);
    on_success(health, kStart + 15'200, 1'000);
    EXPECT_EQ(endpoint_status(health, kStart + 15'200), EndpointStatus::ready);
    for (int i = 0; i < 3; ++i) on_failure(health, kStart + 20'000);
    EXPECT_EQ(health.ejected_until_ms, kStart + 25'000) << "the first ejection again";
}

TEST(endpoint_health, a_trial_is_held_by_one_and_given_up_when_its_lease_ends) {
    EndpointHealth health = failed(3, kStart);
    const std::int64_t due = kStart + 5'000;
    EXPECT_FALSE(begin_trial(health, due - 1, kLease)) << "too early";
    EXPECT_TRUE(begin_trial(health, due, kLease));
    EXPECT_EQ(endpoint_status(health, due), EndpointStatus::trial);
    EXPECT_FALSE(trial_is_due(health, due));
    EXPECT_FALSE(begin_trial(health, due + kLease - 1, kLease)) << "another worker has it, and keeps its lease";
    EXPECT_TRUE(trial_is_due(health, due + kLease));
    EXPECT_TRUE(begin_trial(health, due + kLease, kLease));
    on_success(health, due + kLease, 1'000);
    EXPECT_FALSE(begin_trial(health, due + kLease, kLease)) << "nothing is left to try";
}

TEST(endpoint_health, failures_of_requests_already_under_way_do_not_lengthen_an_ejection) {
    EndpointHealth health = failed(3, kStart);
    for (int i = 0; i < 100; ++i) on_failure(health, kStart + 1 + i);
    EXPECT_EQ(health.ejected_until_ms, kStart + 5'000);
    EXPECT_EQ(health.ejections_in_row, 1U);
}

TEST(endpoint_health, a_busy_trial_has_found_a_living_server) {
    EndpointHealth health = failed(3, kStart);
    begin_trial(health, kStart + 5'000, kLease);
    on_busy(health, kStart + 5'100, 2'000);
    EXPECT_EQ(endpoint_status(health, kStart + 5'100), EndpointStatus::busy);
    EXPECT_EQ(endpoint_status(health, kStart + 7'100), EndpointStatus::ready);
}

TEST(endpoint_health, cool_down_follows_retry_after_within_bounds) {
    const std::pair<std::int64_t, std::int64_t> cases[] = {
        {-1, 1'000}, {0, 0}, {1, 1}, {2'500, 2'500}, {30'000, 30'000}, {30'001, 30'000}, {3'600'000, 30'000}};
    for (const auto& [retry_after_ms, wait_ms] : cases) {
        EndpointHealth health;
        on_busy(health, kStart, retry_after_ms);
        EXPECT_EQ(health.busy_until_ms, kStart + wait_ms) << retry_after_ms;
        EXPECT_EQ(endpoint_status(health, kStart + wait_ms), EndpointStatus::ready);
    }
    EndpointHealth health;
    on_busy(health, kStart, 20'000);
    on_busy(health, kStart + 1, 1'000);
    EXPECT_EQ(health.busy_until_ms, kStart + 20'000) << "a shorter wait does not cut a longer one";
}

TEST(endpoint_health, a_good_probe_ends_an_ejection_but_does_not_excuse_requests) {
    EndpointHealth health = failed(3, kStart);
    on_probe(health, kStart + 1'000, true);
    EXPECT_EQ(endpoint_status(health, kStart + 1'000), EndpointStatus::ready);
    for (int i = 0; i < 2; ++i) on_failure(health, kStart + 2'000);
    on_probe(health, kStart + 2'001, true);
    on_failure(health, kStart + 2'002);
    EXPECT_EQ(health.ejected_until_ms, kStart + 12'002) << "still in a row, and the second ejection";
}

TEST(endpoint_health, bad_probes_eject_like_failures) {
    EndpointHealth health;
    for (const std::int64_t at : {0, 10'000, 20'000}) on_probe(health, kStart + at, false);
    EXPECT_EQ(health.ejected_until_ms, kStart + 20'000 + 5'000);
    on_probe(health, kStart + 30'000, false);
    EXPECT_EQ(health.ejected_until_ms, kStart + 30'000 + 10'000) << "it is still down when its time is over";
}

TEST(endpoint_health, latency_moves_an_eighth_of_the_way) {
    EndpointHealth health;
    on_success(health, kStart, 8'000);
    EXPECT_EQ(health.latency_ewma_us, 8'000);
    on_success(health, kStart, 16'000);
    EXPECT_EQ(health.latency_ewma_us, 9'000);
    on_success(health, kStart, 0);
    EXPECT_EQ(health.latency_ewma_us, 9'000) << "not measured";
    for (int i = 0; i < 200; ++i) on_success(health, kStart, 1);
    EXPECT_GE(health.latency_ewma_us, 1) << "0 would mean not known";
    EXPECT_LE(health.latency_ewma_us, 8);
}

TEST(endpoint_health, a_latency_is_believed_half_as_much_after_each_half_life_and_a_new_one_the_more) {
    EndpointHealth health;
    on_success(health, kStart, 800'000);
    EXPECT_EQ(believed_latency_us(health, kStart + kLatencyHalfLifeMs - 1), 800'000);
    EXPECT_EQ(believed_latency_us(health, kStart + kLatencyHalfLifeMs), 400'000);
    EXPECT_EQ(believed_latency_us(health, kStart + 3 * kLatencyHalfLifeMs), 100'000);
    EXPECT_EQ(believed_latency_us(health, kStart + 1'000 * kLatencyHalfLifeMs), 0);
    EXPECT_EQ(believed_latency_us(health, kStart - 5'000), 800'000) << "a clock that was set back";
    on_success(health, kStart + 3 * kLatencyHalfLifeMs, 80'000);
    EXPECT_EQ(health.latency_ewma_us, 80'000 + 720'000 / 8 * 7 / 8);
}

TEST(endpoint_health, status_names_are_the_words_of_metrics_and_pages) {
    EXPECT_EQ(endpoint_status_name(EndpointStatus::ready), "ready");
    EXPECT_EQ(endpoint_status_name(EndpointStatus::busy), "busy");
    EXPECT_EQ(endpoint_status_name(EndpointStatus::ejected), "ejected");
    EXPECT_EQ(endpoint_status_name(EndpointStatus::trial), "trial");
}

/// What happened to an endpoint in one random history, and what must be true after each step.
class History {
 public:
    explicit History(std::uint64_t seed) : random_(seed) {}

    void step() {
        now_ += static_cast<std::int64_t>(random_() % 8'000);
        const EndpointHealth before = health_;
        const bool was_in_ejection = endpoint_status(before, now_) == EndpointStatus::ejected;
        switch (random_() % 8) {
            case 0:
                on_success(health_, now_, static_cast<std::int64_t>(random_() % 1'000'000));
                failures_ = 0;
                ASSERT_NE(endpoint_status(health_, now_), EndpointStatus::ejected);
                break;
            case 1:
                on_busy(health_, now_, static_cast<std::int64_t>(random_() % 100'000) - 1);
                failures_ = 0;
                ASSERT_EQ(health_.ejected_until_ms, 0) << "busy is never ejected";
                break;
            case 2:
                on_probe(health_, now_, true);
                if (before.ejected_until_ms > 0) failures_ = 0;
                ASSERT_EQ(health_.ejected_until_ms, 0);
                break;
            case 3:
                ASSERT_EQ(begin_trial(health_, now_, kLease), trial_is_due(before, now_));
                ASSERT_FALSE(trial_is_due(health_, now_)) << "one trial at a time";
                break;
            default:
                on_failure(health_, now_);
                if (!was_in_ejection) ++failures_;
                break;
        }
        check(before, was_in_ejection);
    }

 private:
    void check(const EndpointHealth& before, bool was_in_ejection) {
        const std::int64_t ejected_for = health_.ejected_until_ms - now_;
        if (failures_ < kFailuresToEject && before.ejected_until_ms == 0) {
            ASSERT_EQ(health_.ejected_until_ms, 0) << "ejected after " << failures_ << " failures";
        }
        if (health_.ejected_until_ms > before.ejected_until_ms) {
            ASSERT_FALSE(was_in_ejection) << "a running ejection was lengthened";
            ASSERT_GE(ejected_for, kFirstEjectionMs);
            ASSERT_LE(ejected_for, kLongestEjectionMs);
        }
        ASSERT_LE(health_.busy_until_ms, std::max(before.busy_until_ms, now_ + kLongestBusyMs));
    }

    std::mt19937_64 random_;
    std::int64_t now_ = kStart;
    EndpointHealth health_;
    std::uint32_t failures_ = 0;
};

TEST(endpoint_health, rules_hold_in_random_histories) {
    for (std::uint64_t seed = 1; seed <= 3'000; ++seed) {
        History history{seed};
        for (int i = 0; i < 100; ++i) {
            ASSERT_NO_FATAL_FAILURE(history.step()) << "seed " << seed << ", step " << i;
        }
    }
}

TEST(endpoint_health, says_why_it_is_not_ready_and_until_when) {
    EndpointHealth health;
    EXPECT_EQ(endpoint_status_reason(health, kStart), "");
    EXPECT_EQ(endpoint_status_until_ms(health, kStart), 0);
    on_busy(health, kStart, 2'000, 429);
    EXPECT_EQ(endpoint_status_reason(health, kStart), "status 429");
    EXPECT_EQ(endpoint_status_until_ms(health, kStart), kStart + 2'000);
    EXPECT_EQ(endpoint_status_reason(health, kStart + 2'000), "");

    const std::pair<FailureReason, const char*> rows[] = {
        {FailureReason::status, "status 500"},
        {FailureReason::timed_out, "timed out"},
        {FailureReason::not_connected, "cannot be connected to"},
        {FailureReason::connection_lost, "closed the connection"},
        {FailureReason::not_http, "does not answer in HTTP"},
        {FailureReason::broke_off, "answers broke off"},
        {FailureReason::probe, "probe failed"},
        {FailureReason::unknown, "failed"},
    };
    for (const auto& [why, text] : rows) {
        EndpointHealth failing;
        for (int i = 0; i < 3; ++i) on_failure(failing, kStart, why, 500);
        EXPECT_EQ(endpoint_status_reason(failing, kStart), text);
        EXPECT_EQ(endpoint_status_until_ms(failing, kStart), kStart + 5'000);
        EXPECT_EQ(endpoint_status_reason(failing, kStart + 5'000), text) << "a trial is due, for the same reason";
        EXPECT_EQ(endpoint_status_until_ms(failing, kStart + 5'000), 0);
    }
}

}  // namespace
}  // namespace lumen

#include "lumen_core/endpoint_choice.h"
#include "tests/core/endpoint_moment.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <map>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace lumen {
namespace {

constexpr std::int64_t kServiceMs = 100;
using Candidates = std::vector<EndpointCandidate>;

std::optional<EndpointPick> choose(const Candidates& candidates, std::uint64_t random, std::int64_t now = kNow) {
    return choose_endpoint(candidates.data(), candidates.size(), now, random);
}

/// The indexes picked over many draws.
std::set<std::size_t> picked(const Candidates& candidates, std::int64_t now = kNow) {
    std::mt19937_64 random{17};
    std::set<std::size_t> indexes;
    for (int i = 0; i < 500; ++i) {
        if (const auto pick = choose(candidates, random(), now)) indexes.insert(pick->index);
    }
    return indexes;
}

EndpointCandidate ready(std::uint32_t in_flight = 0, std::uint32_t weight = 1) {
    EndpointCandidate candidate;
    candidate.in_flight = in_flight;
    candidate.weight = weight;
    return candidate;
}

EndpointCandidate busy_for(std::int64_t ms) {
    EndpointCandidate candidate;
    on_busy(candidate.health, kNow, ms);
    return candidate;
}

/// Ejected so that its time is over `ms` after now.
EndpointCandidate ejected_for(std::int64_t ms) {
    EndpointCandidate candidate;
    for (int i = 0; i < 3; ++i) on_failure(candidate.health, kNow + ms - kFirstEjectionMs);
    return candidate;
}

EndpointCandidate tried(EndpointCandidate candidate) {
    candidate.tried = true;
    return candidate;
}

EndpointCandidate draining(EndpointCandidate candidate) {
    candidate.draining = true;
    return candidate;
}

TEST(endpoint_choice, nothing_to_choose_from_is_no_pick) {
    EXPECT_FALSE(choose({}, 0));
    EXPECT_FALSE(choose({tried(ready()), draining(ready()), tried(ejected_for(-1)), draining(busy_for(10))}, 12345));
}

TEST(endpoint_choice, the_only_endpoint_is_picked_whatever_its_state) {
    for (const EndpointCandidate& only : {ready(1'000), busy_for(20'000), ejected_for(4'000), ejected_for(-1)}) {
        const auto pick = choose({only}, 99);
        ASSERT_TRUE(pick);
        EXPECT_EQ(pick->index, 0U);
    }
    EXPECT_TRUE(choose({ejected_for(4'000)}, 1)->panic);
    EXPECT_TRUE(choose({ejected_for(-1)}, 1)->trial);
    EXPECT_FALSE(choose({ejected_for(-1)}, 1)->panic);
    EXPECT_FALSE(choose({busy_for(5'000)}, 1)->panic);
}

TEST(endpoint_choice, of_two_the_less_loaded_for_its_weight_wins) {
    EXPECT_EQ(picked({ready(3), ready(2)}), std::set<std::size_t>{1});
    EXPECT_EQ(picked({ready(5, 3), ready(2, 1)}), std::set<std::size_t>{0});
    EXPECT_EQ(picked({ready(7, 3), ready(2, 1)}), std::set<std::size_t>{1});
    EXPECT_EQ(picked({ready(4'000'000'000, 1), ready(4'000'000'000, 2)}), std::set<std::size_t>{1});
}

TEST(endpoint_choice, equal_load_goes_to_the_faster_and_to_the_unknown_first) {
    EndpointCandidate fast = ready();
    EndpointCandidate slow = ready();
    on_success(fast.health, kNow, 10'000);
    on_success(slow.health, kNow, 20'000);
    EXPECT_EQ(picked({slow, fast}), std::set<std::size_t>{1});
    EXPECT_EQ(picked({fast, ready()}), std::set<std::size_t>{1});
    EXPECT_EQ(picked({ready(), ready()}), (std::set<std::size_t>{0, 1})) << "nothing tells them apart";
}

TEST(endpoint_choice, a_busy_one_is_used_only_if_none_is_ready) {
    EXPECT_EQ(picked({busy_for(10), ready(1'000'000)}), std::set<std::size_t>{1});
    EXPECT_EQ(picked({busy_for(300), busy_for(200), ejected_for(1)}), std::set<std::size_t>{1}) << "the soonest free";
    EXPECT_EQ(picked({busy_for(300), tried(ready())}), std::set<std::size_t>{0});
}

TEST(endpoint_choice, if_all_are_ejected_the_soonest_back_is_tried_anyway) {
    const Candidates candidates{ejected_for(3'000), ejected_for(1'000), tried(ejected_for(10)),
                                draining(ejected_for(5))};
    EXPECT_EQ(picked(candidates), std::set<std::size_t>{1});
    EXPECT_TRUE(choose(candidates, 3)->panic);
    EXPECT_FALSE(choose(candidates, 3)->trial);
}

TEST(endpoint_choice, a_due_trial_is_taken_once_and_first) {
    Candidates candidates{ready(), ejected_for(-1)};
    const auto first = choose(candidates, 7);
    ASSERT_TRUE(first && first->trial);
    EXPECT_EQ(first->index, 1U);
    begin_trial(candidates[1].health, kNow, kLease);
    EXPECT_EQ(picked(candidates), std::set<std::size_t>{0}) << "the trial is under way";
    EXPECT_EQ(picked(candidates, kNow + kLease), std::set<std::size_t>{1}) << "it was lost: another may try";
    EXPECT_EQ(picked({tried(ejected_for(-1)), ready()}), std::set<std::size_t>{1});
}

TEST(endpoint_choice, a_heavy_server_among_many_light_ones_is_drawn_by_its_weight) {
    Candidates candidates(10, ready());
    candidates[4].weight = 91;
    std::mt19937_64 random{5};
    int heavy = 0;
    for (int i = 0; i < 10'000; ++i) heavy += choose(candidates, random())->index == 4 ? 1 : 0;
    EXPECT_GT(heavy, 9'000 / 2) << "drawn uniformly it would be one of two in a fifth of all cases";
}

TEST(endpoint_choice, each_pair_of_equals_is_compared_equally_often) {
    constexpr std::size_t kCount = 6;
    Candidates candidates(kCount, ready());
    for (std::size_t i = 0; i < kCount; ++i)
        on_success(candidates[i].health, kNow, static_cast<std::int64_t>(i + 1) * 1'000);
    std::mt19937_64 random{8};
    constexpr int kDraws = 60'000;
    std::array<int, kCount> wins{};
    for (int i = 0; i < kDraws; ++i) ++wins[choose(candidates, random())->index];
    for (std::size_t i = 0; i < kCount; ++i) {
        // Of the 15 pairs it wins those with a slower one.
        const double expected = static_cast<double>(kCount - 1 - i) / 15.0;
        EXPECT_NEAR(static_cast<double>(wins[i]) / kDraws, expected, 0.01) << "endpoint " << i;
    }
}

TEST(endpoint_choice, weights_out_of_range_are_safe) {
    EXPECT_EQ(picked({ready(0, 0), ready(1, 0xFFFFFFFF)}), std::set<std::size_t>{0});
    const Candidates many(kMaxEndpointsPerModel + 10, ready(0, 0xFFFFFFFF));
    std::mt19937_64 random{6};
    for (int i = 0; i < 2'000; ++i) ASSERT_LT(choose(many, random())->index, kMaxEndpointsPerModel);
    ASSERT_LT(choose(many, ~std::uint64_t{0})->index, kMaxEndpointsPerModel);
    ASSERT_LT(choose(many, 0)->index, kMaxEndpointsPerModel);
}

TEST(endpoint_choice, every_pick_of_random_candidates_is_the_best_of_its_kind) {
    std::mt19937_64 random{2'026};
    for (int round = 0; round < 50'000; ++round) {
        SCOPED_TRACE("round " + std::to_string(round));
        Candidates candidates(random() % 7);
        std::map<EndpointStatus, int> open;
        bool due = false;
        for (EndpointCandidate& candidate : candidates) {
            const auto ms = static_cast<std::int64_t>(random() % 4'000);
            switch (random() % 4) {
                case 0:
                    candidate = ready(static_cast<std::uint32_t>(random() % 5));
                    break;
                case 1:
                    candidate = busy_for(ms + 1);
                    break;
                case 2:
                    candidate = ejected_for(ms - 2'000);
                    break;
                default:
                    candidate.health.ejected_until_ms = kNow - 1, candidate.health.trial_until_ms = kNow + ms + 1;
            }
            candidate.weight = static_cast<std::uint32_t>(random() % 4 + 1);
            candidate.tried = random() % 4 == 0;
            candidate.draining = random() % 5 == 0;
            if (candidate.tried || candidate.draining) continue;
            ++open[endpoint_status(candidate.health, kNow)];
            due = due || trial_is_due(candidate.health, kNow);
        }
        const auto pick = choose(candidates, random());
        ASSERT_EQ(pick.has_value(), !open.empty());
        if (!pick) continue;

        const EndpointCandidate& chosen = candidates[pick->index];
        const EndpointStatus status = endpoint_status(chosen.health, kNow);
        ASSERT_FALSE(chosen.tried);
        ASSERT_FALSE(chosen.draining);
        ASSERT_EQ(pick->trial, due);
        if (due) {
            ASSERT_TRUE(trial_is_due(chosen.health, kNow));
        } else if (open.count(EndpointStatus::ready) > 0) {
            ASSERT_EQ(status, EndpointStatus::ready);
        } else if (open.count(EndpointStatus::busy) > 0) {
            ASSERT_EQ(status, EndpointStatus::busy);
        }
        ASSERT_EQ(pick->panic, !due && open.count(EndpointStatus::ready) + open.count(EndpointStatus::busy) == 0);
        for (const EndpointCandidate& other : candidates) {
            if (other.tried || other.draining || endpoint_status(other.health, kNow) != status) continue;
            if (status == EndpointStatus::busy) {
                ASSERT_LE(chosen.health.busy_until_ms, other.health.busy_until_ms);
            }
            if (pick->panic) {
                ASSERT_LE(chosen.health.ejected_until_ms, other.health.ejected_until_ms);
            }
        }
    }
}

/// Servers and requests on a clock of the test's own: what the gate does with health and choice, in one thread.
class Model {
 public:
    struct Server {
        std::uint32_t weight = 1;
        bool dead = false;
        std::size_t busy_above = SIZE_MAX;  ///< in flight from which it answers 429
        std::int64_t first_byte_us = kServiceMs * 1'000;
        EndpointHealth health;
        std::uint32_t in_flight = 0;
        int served = 0;
        int failed = 0;
        int busy = 0;
    };

    Model(const std::vector<std::uint32_t>& weights, std::uint64_t seed) : random_(seed) {
        for (const std::uint32_t weight : weights) servers_.emplace_back().weight = weight;
    }

    /// One request with up to three tries. False: nothing answered it.
    bool request() {
        std::set<std::size_t> tried;
        while (tried.size() < 3) {
            const auto pick = choose_among(tried);
            if (!pick) return false;
            EXPECT_TRUE(tried.insert(pick->index).second) << "tried twice";
            Server& server = servers_[pick->index];
            if (pick->trial) begin_trial(server.health, now, kLease);
            if (server.dead) {
                ++server.failed;
                on_failure(server.health, now);
            } else if (server.in_flight >= server.busy_above) {
                ++server.busy;
                on_busy(server.health, now, -1);
            } else {
                begin(pick->index);
                return true;
            }
        }
        return false;
    }

    void pass(std::int64_t ms) {
        now += ms;
        while (!running_.empty() && running_.top().first <= now) {
            --servers_[running_.top().second].in_flight;
            running_.pop();
        }
    }

    std::size_t running() const { return running_.size(); }
    Server& server(std::size_t index) { return servers_[index]; }
    std::mt19937_64& random() { return random_; }
    std::int64_t now = kNow;

 private:
    std::optional<EndpointPick> choose_among(const std::set<std::size_t>& tried) {
        Candidates candidates;
        for (std::size_t i = 0; i < servers_.size(); ++i) {
            const Server& server = servers_[i];
            candidates.push_back({server.health, server.in_flight, server.weight, false, tried.count(i) > 0});
        }
        return choose_endpoint(candidates.data(), candidates.size(), now, random_());
    }

    void begin(std::size_t index) {
        Server& server = servers_[index];
        ++server.served;
        ++server.in_flight;
        on_success(server.health, now, server.first_byte_us);
        const auto jitter = static_cast<std::int64_t>(random_() % kServiceMs);
        running_.emplace(now + kServiceMs / 2 + jitter, index);
    }

    using Running = std::pair<std::int64_t, std::size_t>;
    std::vector<Server> servers_;
    std::mt19937_64 random_;
    std::priority_queue<Running, std::vector<Running>, std::greater<>> running_;
};

TEST(endpoint_choice, under_load_requests_follow_the_weights) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Model model({1, 2, 5}, seed);
        for (int i = 0; i < 20'000; ++i) {
            while (model.running() < 64) model.request();
            model.pass(1);
        }
        double total = 0;
        for (std::size_t i = 0; i < 3; ++i) total += model.server(i).served;
        for (std::size_t i = 0; i < 3; ++i) {
            EXPECT_NEAR(model.server(i).served / total, model.server(i).weight / 8.0, 0.03) << "seed " << seed;
        }
    }
}

TEST(endpoint_choice, a_dead_server_costs_few_tries_and_is_used_again_when_it_lives) {
    for (std::uint64_t seed = 1; seed <= 500; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Model model({1, 1, 1}, seed);
        const std::size_t victim = model.random()() % 3;
        model.server(victim).dead = true;
        const std::int64_t end = model.now + 300'000;
        while (model.now < end) {
            ASSERT_TRUE(model.request()) << "two servers live";
            model.pass(50);
        }
        // Three to eject, then a trial after 5, 10, 20, 40, 60, 60, 60 s.
        ASSERT_LE(model.server(victim).failed, 3 + 7);
        ASSERT_GE(model.server(victim).failed, 3 + 6);

        model.server(victim).dead = false;
        const int before = model.server(victim).served;
        const std::int64_t soon = model.now + kLongestEjectionMs + 5'000;
        while (model.now < soon) {
            for (int i = 0; i < 4; ++i) ASSERT_TRUE(model.request());
            model.pass(50);
        }
        ASSERT_GT(model.server(victim).served, before + 10);
    }
}

TEST(endpoint_choice, a_lone_server_serves_from_its_first_living_second) {
    for (std::uint64_t seed = 1; seed <= 1'000; ++seed) {
        Model model({1}, seed);
        model.server(0).dead = true;
        const auto requests = model.random()() % 40;
        for (std::uint64_t i = 0; i < requests; ++i) {
            ASSERT_FALSE(model.request());
            model.pass(static_cast<std::int64_t>(model.random()() % 20'000));
        }
        model.server(0).dead = false;
        ASSERT_TRUE(model.request()) << "seed " << seed << ": all ejected means the best is tried anyway";
        ASSERT_EQ(endpoint_status(model.server(0).health, model.now), EndpointStatus::ready);
        ASSERT_TRUE(model.request());
    }
}

TEST(endpoint_choice, overload_spreads_and_never_ejects) {
    for (std::uint64_t seed = 1; seed <= 500; ++seed) {
        Model model({1, 1, 1, 1}, seed);
        for (std::size_t i = 0; i < 4; ++i) model.server(i).busy_above = 4;
        for (int i = 0; i < 1'000; ++i) {
            for (std::uint64_t n = model.random()() % 3; n > 0; --n) model.request();
            model.pass(10);
            for (std::size_t s = 0; s < 4; ++s) {
                ASSERT_EQ(model.server(s).health.ejected_until_ms, 0) << "seed " << seed;
            }
        }
        int busy = 0;
        for (std::size_t i = 0; i < 4; ++i) busy += model.server(i).busy;
        ASSERT_GT(busy, 0) << "the load was too low to prove anything";
    }
}

TEST(endpoint_choice, without_load_a_slow_server_is_tried_again_now_and_then_and_used_once_it_is_fast) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Model model({1, 1}, seed);
        Model::Server& slow = model.server(1);
        slow.first_byte_us = 10 * model.server(0).first_byte_us;
        const auto one_at_a_time = [&](int requests) {
            const int before = slow.served;
            for (int i = 0; i < requests; ++i) {
                EXPECT_TRUE(model.request());
                model.pass(2 * kServiceMs);
            }
            return slow.served - before;
        };
        const int tries = one_at_a_time(3'000);  // ten minutes
        ASSERT_GE(tries, 10);
        ASSERT_LE(tries, 30) << "each costs somebody a slow answer";

        slow.first_byte_us = model.server(0).first_byte_us / 2;
        one_at_a_time(600);  // two minutes
        ASSERT_GE(one_at_a_time(300), 250);
    }
}

TEST(endpoint_choice, while_one_server_lives_no_request_is_lost_in_random_histories) {
    for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
        Model model({1, 3, 2}, seed);
        for (int i = 0; i < 300; ++i) {
            if (model.random()() % 20 == 0) {
                for (std::size_t s = 1; s < 3; ++s) model.server(s).dead = model.random()() % 2 == 0;
            }
            ASSERT_TRUE(model.request()) << "seed " << seed << ", step " << i;
            model.pass(static_cast<std::int64_t>(model.random()() % 3'000));
        }
    }
}

}  // namespace
}  // namespace lumen

// Conversations stay with the server that has their beginning in its cache, as long as that server is not the loaded
// one
// (`prefix_affinity`, L25); and thousands of random histories of servers that die, stall, drain and come back.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "lumen_core/endpoint_choice.h"
#include "tests/core/endpoint_moment.h"

namespace lumen {
namespace {

using Candidates = std::vector<EndpointCandidate>;

Candidates servers(const std::vector<std::uint32_t>& weights) {
    Candidates candidates;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        EndpointCandidate& candidate = candidates.emplace_back();
        candidate.weight = weights[i];
        candidate.id = 100 + i;
    }
    return candidates;
}

std::size_t home_of(const Candidates& candidates, std::uint64_t key) {
    const auto pick = choose_endpoint(candidates.data(), candidates.size(), kNow, 0, key);
    EXPECT_TRUE(pick);
    return pick ? pick->index : 0;
}

std::uint64_t room_of(const Candidates& candidates, std::size_t index) {
    std::uint64_t in_flight = 1;
    std::uint64_t weight = 0;
    for (const EndpointCandidate& candidate : candidates) {
        in_flight += candidate.in_flight;
        weight += candidate.weight;
    }
    const std::uint64_t share = in_flight * candidates[index].weight * kAffinityLoadPercent;
    return (share + weight * 100 - 1) / (weight * 100);
}

TEST(endpoint_affinity, an_idle_fleet_agrees_on_one_server_for_each_conversation) {
    std::mt19937_64 random{1};
    const Candidates candidates = servers({1, 1, 1, 1});
    std::array<int, 4> keys{};
    for (int i = 0; i < 4'000; ++i) {
        const std::uint64_t key = random();
        const std::size_t home = home_of(candidates, key);
        ++keys[home];
        Candidates turned(candidates.rbegin(), candidates.rend());
        ASSERT_EQ(turned[home_of(turned, key)].id, candidates[home].id) << "the order of the list does not matter";
    }
    for (const int count : keys) EXPECT_NEAR(count, 1'000, 120);
}

TEST(endpoint_affinity, weights_are_followed) {
    std::mt19937_64 random{2};
    const Candidates candidates = servers({1, 2, 5});
    std::array<int, 3> keys{};
    for (int i = 0; i < 16'000; ++i) ++keys[home_of(candidates, random())];
    EXPECT_NEAR(keys[0], 2'000, 200);
    EXPECT_NEAR(keys[1], 4'000, 300);
    EXPECT_NEAR(keys[2], 10'000, 400);
}

TEST(endpoint_affinity, a_server_that_leaves_moves_its_own_conversations_and_no_others) {
    std::mt19937_64 random{3};
    const Candidates all = servers({1, 3, 1, 2});
    for (int round = 0; round < 2'000; ++round) {
        const std::uint64_t key = random();
        Candidates fewer = all;
        const std::size_t gone = random() % 4;
        switch (random() % 4) {
            case 0:
                fewer[gone].draining = true;
                break;
            case 1:
                fewer[gone].tried = true;
                break;
            case 2:
                on_busy(fewer[gone].health, kNow, 5'000);
                break;
            default:
                for (int i = 0; i < 3; ++i) on_failure(fewer[gone].health, kNow);
        }
        const std::size_t home = home_of(all, key);
        const std::size_t now = home_of(fewer, key);
        ASSERT_NE(now, gone);
        if (home != gone) {
            ASSERT_EQ(now, home);
        }
    }
}

TEST(endpoint_affinity, no_server_is_loaded_beyond_its_bounded_share_in_thousands_of_histories) {
    for (std::uint64_t seed = 1; seed <= 3'000; ++seed) {
        std::mt19937_64 random{seed};
        std::vector<std::uint32_t> weights(1 + random() % 6);
        for (std::uint32_t& weight : weights) weight = static_cast<std::uint32_t>(1 + random() % 5);
        Candidates candidates = servers(weights);
        const std::uint64_t conversations = 1 + random() % 5;  // few, and so hot
        for (int step = 0; step < 120; ++step) {
            const std::size_t at = random() % candidates.size();
            if (random() % 3 == 0 && candidates[at].in_flight > 0) {
                --candidates[at].in_flight;
                continue;
            }
            const std::uint64_t key = random() % conversations;
            const auto pick = choose_endpoint(candidates.data(), candidates.size(), kNow, random(), key);
            ASSERT_TRUE(pick);
            ASSERT_LE(candidates[pick->index].in_flight + 1, room_of(candidates, pick->index)) << "seed " << seed;
            ++candidates[pick->index].in_flight;
        }
    }
}

TEST(endpoint_affinity, turns_of_a_conversation_find_their_cache) {
    constexpr std::size_t kServers = 8;
    constexpr int kConversations = 400;
    for (const bool affinity : {true, false}) {
        std::mt19937_64 random{7};
        Candidates candidates = servers(std::vector<std::uint32_t>(kServers, 1));
        std::map<std::uint64_t, std::size_t> last;
        std::queue<std::size_t> running;
        int again = 0;
        int same = 0;
        for (int turn = 0; turn < 20'000; ++turn) {
            if (running.size() >= 64) {
                --candidates[running.front()].in_flight;
                running.pop();
            }
            const std::uint64_t key = random() % kConversations;
            const auto pick = choose_endpoint(candidates.data(), kServers, kNow, random(),
                                              affinity ? std::optional<std::uint64_t>(key) : std::nullopt);
            ASSERT_TRUE(pick);
            if (const auto found = last.find(key); found != last.end()) {
                ++again;
                same += found->second == pick->index ? 1 : 0;
            }
            last[key] = pick->index;
            ++candidates[pick->index].in_flight;
            running.push(pick->index);
        }
        const double hits = static_cast<double>(same) / again;
        if (affinity) {
            EXPECT_GT(hits, 0.6) << "bounded by load, most turns still find it";
        } else {
            EXPECT_LT(hits, 0.2) << "one of eight, by chance";
        }
    }
}

/// Servers on a clock of the test's own, each with moods that last a while.
class Fleet {
 public:
    enum class Mood { well, refuses, stalls, busy };

    explicit Fleet(std::uint64_t seed) : random_(seed) {
        const std::size_t count = 2 + random_() % 4;
        for (std::size_t i = 0; i < count; ++i) {
            Server& server = servers_.emplace_back();
            server.candidate.id = 7 * i + 1;
            server.candidate.weight = static_cast<std::uint32_t>(1 + random_() % 10);
        }
    }

    void change_something() {
        Server& server = servers_[random_() % servers_.size()];
        constexpr std::array<Mood, 6> kMoods{Mood::well,    Mood::well,   Mood::well,
                                             Mood::refuses, Mood::stalls, Mood::busy};
        server.mood = kMoods[random_() % kMoods.size()];
        server.candidate.draining = random_() % 8 == 0;
    }

    void heal() {
        for (Server& server : servers_) {
            server.mood = Mood::well;
            server.candidate.draining = false;
        }
    }

    bool can_serve() const {
        for (const Server& server : servers_) {
            if (!server.candidate.draining && server.mood == Mood::well) return true;
        }
        return false;
    }

    /// A request with as many tries as there are servers. True: it was answered.
    bool request() {
        for (Server& server : servers_) server.candidate.tried = false;
        const bool keyed = random_() % 2 == 0;
        for (std::size_t tries = 0; tries < servers_.size(); ++tries) {
            Candidates candidates;
            for (const Server& server : servers_) candidates.push_back(server.candidate);
            const std::optional<std::uint64_t> key = keyed ? std::optional<std::uint64_t>(random_() % 9) : std::nullopt;
            const auto pick = choose_endpoint(candidates.data(), candidates.size(), now, random_(), key);
            if (!pick) return false;
            check(*pick, candidates);
            if (attempt(*pick)) return true;
        }
        return false;
    }

    void pass(std::int64_t ms) {
        now += ms;
        while (!running_.empty() && running_.top().first <= now) {
            --servers_[running_.top().second].candidate.in_flight;
            running_.pop();
        }
    }

    bool all_ready() const {
        for (const Server& server : servers_) {
            if (endpoint_status(server.candidate.health, now) != EndpointStatus::ready) return false;
        }
        return true;
    }

    std::uint64_t random() { return random_(); }
    std::int64_t now = kNow;

 private:
    struct Server {
        EndpointCandidate candidate;
        Mood mood = Mood::well;
    };

    void check(const EndpointPick& pick, const Candidates& candidates) const {
        const EndpointCandidate& chosen = candidates[pick.index];
        EXPECT_FALSE(chosen.draining);
        EXPECT_FALSE(chosen.tried);
        const EndpointStatus status = endpoint_status(chosen.health, now);
        EXPECT_EQ(pick.trial, status == EndpointStatus::trial && trial_is_due(chosen.health, now));
        if (status == EndpointStatus::ready || pick.trial) return;
        for (const EndpointCandidate& other : candidates) {
            if (other.draining || other.tried) continue;
            const EndpointStatus its = endpoint_status(other.health, now);
            EXPECT_NE(its, EndpointStatus::ready) << "something better was there";
            if (pick.panic) {
                EXPECT_NE(its, EndpointStatus::busy) << "something better was there";
            }
        }
    }

    bool attempt(const EndpointPick& pick) {
        Server& server = servers_[pick.index];
        EndpointHealth& health = server.candidate.health;
        server.candidate.tried = true;
        if (pick.trial) {
            EXPECT_TRUE(begin_trial(health, now, 10'000));
        }
        switch (server.mood) {
            case Mood::well:
                on_success(health, now, 1'000 + static_cast<std::int64_t>(random_() % 50'000));
                ++server.candidate.in_flight;
                running_.emplace(now + 20 + static_cast<std::int64_t>(random_() % 2'000), pick.index);
                return true;
            case Mood::busy:
                on_busy(health, now, random_() % 2 == 0 ? -1 : 3'000);
                return false;
            case Mood::stalls:
                pass(1'000);  // until the time-out
                [[fallthrough]];
            case Mood::refuses:
                on_failure(health, now);
                EXPECT_LE(health.ejected_until_ms, now + kLongestEjectionMs);
                return false;
        }
        return false;
    }

    using Running = std::pair<std::int64_t, std::size_t>;
    std::vector<Server> servers_;
    std::mt19937_64 random_;
    std::priority_queue<Running, std::vector<Running>, std::greater<>> running_;
};

TEST(endpoint_affinity, whatever_happens_to_a_fleet_a_request_is_answered_while_one_server_can) {
    int unanswered = 0;
    for (std::uint64_t seed = 1; seed <= 4'000 && !testing::Test::HasFailure(); ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Fleet fleet(seed);
        for (int step = 0; step < 150; ++step) {
            if (fleet.random() % 6 == 0) fleet.change_something();
            const bool can = fleet.can_serve();
            const bool answered = fleet.request();
            ASSERT_TRUE(answered || !can) << "step " << step;
            unanswered += answered ? 0 : 1;
            fleet.pass(static_cast<std::int64_t>(fleet.random() % 4'000));
        }
        fleet.heal();
        for (int step = 0; step < 400 && !fleet.all_ready(); ++step) {
            ASSERT_TRUE(fleet.request()) << "all are well";
            fleet.pass(200);
        }
        ASSERT_TRUE(fleet.all_ready()) << "80 s after the last trouble";
    }
    EXPECT_GT(unanswered, 0) << "the histories were too kind to prove anything";
}

}  // namespace
}  // namespace lumen

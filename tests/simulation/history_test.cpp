// Thousands of histories (ledger.md §7, §8), and the proof that they would notice (T13). The seed of a run is printed;
//   LUMEN_SEED=n LUMEN_HISTORIES=1 history_tests    repeats one history
//   LUMEN_HISTORIES=100000 history_tests            a long run
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

#include "tests/simulation/history.h"

namespace lumen::simulation {
namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST(Histories, whatever_dies_each_coin_is_where_the_clients_were_told) {
    const std::uint64_t first = number_from("LUMEN_SEED", std::random_device{}());
    const std::uint64_t histories = number_from("LUMEN_HISTORIES", 4'000);
    std::int64_t requests = 0;
    std::int64_t faults = 0;
    for (std::uint64_t i = 0; i < histories; ++i) {
        const HistoryResult result = run_history(first + i, Mutation::none);
        ASSERT_EQ(result.broken, "") << "LUMEN_SEED=" << first + i << " LUMEN_HISTORIES=1";
        requests += result.requests;
        faults += result.faults;
    }
    RecordProperty("requests", std::to_string(requests));
    RecordProperty("faults", std::to_string(faults));
    EXPECT_GT(requests, static_cast<std::int64_t>(histories) * 20);
    EXPECT_GT(faults, static_cast<std::int64_t>(histories) * 5);
}

struct LeftOut {
    Mutation mutation;
    const char* name;
};

class Mutations : public ::testing::TestWithParam<LeftOut> {};

TEST_P(Mutations, turns_the_histories_red_T13) {
    constexpr std::uint64_t kHistories = 2'000;
    std::uint64_t seed = 1;
    while (seed < kHistories && run_history(seed, GetParam().mutation).broken.empty()) ++seed;
    EXPECT_LT(seed, kHistories) << "nobody noticed";
}

INSTANTIATE_TEST_SUITE_P(RulesLeftOut, Mutations,
                         ::testing::Values(LeftOut{Mutation::keep_resurrected_holds, "keep_resurrected_holds"},
                                           LeftOut{Mutation::trim_before_commit, "trim_before_commit"},
                                           LeftOut{Mutation::no_source_check, "no_source_check"},
                                           LeftOut{Mutation::late_charges_full_cost, "late_charges_full_cost"},
                                           LeftOut{Mutation::no_replay, "no_replay"},
                                           LeftOut{Mutation::serve_without_reconciliation,
                                                   "serve_without_reconciliation"}),
                         [](const auto& rule) { return std::string(rule.param.name); });

TEST(Histories, the_same_seed_gives_the_same_history) {
    const HistoryResult once = run_history(4711, Mutation::none);
    const HistoryResult again = run_history(4711, Mutation::none);
    EXPECT_EQ(once.requests, again.requests);
    EXPECT_EQ(once.faults, again.faults);
}

}  // namespace
}  // namespace lumen::simulation

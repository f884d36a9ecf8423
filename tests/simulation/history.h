// One history: gates, Redis, the book and admind, with everything that can befall them, in an order that a seed
// decides; then all wounds heal, and a simple account of what the clients were told is held against the book.
#pragma once

#include <cstdint>
#include <string>

#include "tests/simulation/simulated_admind.h"

namespace lumen::simulation {

struct HistoryResult {
    std::string broken;  ///< the first rule that does not hold; empty: all do
    std::int64_t requests = 0;
    std::int64_t faults = 0;
};

/// The same seed and mutation give the same history.
HistoryResult run_history(std::uint64_t seed, Mutation mutation);

}  // namespace lumen::simulation

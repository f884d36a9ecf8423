// admind's procedures of ledger.md §6 over the simulated stores, cut off at random points. What EventBatch does in the
// daemon it does here too; the statements around it are written a second time.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>

#include "tests/simulation/simulated_book.h"
#include "tests/simulation/simulated_redis.h"

namespace lumen::simulation {

/// A rule left out on purpose: the checks must turn red (T13).
enum class Mutation : std::uint8_t {
    none,
    keep_resurrected_holds,
    trim_before_commit,
    no_source_check,
    late_charges_full_cost,
    no_replay,
    serve_without_reconciliation,
};

/// The process dies here; what it had committed stays.
struct Crash {};

/// A rule is broken; the history ends.
struct Violation : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class SimulatedAdmind {
 public:
    /// `dies()` is asked at each point where a crash would leave something half done.
    SimulatedAdmind(SimulatedBook& book, Mutation mutation, std::mt19937_64& random, std::function<bool()> dies)
        : book_(book), mutation_(mutation), random_(random), dies_(std::move(dies)) {}

    /// 6.1, 6.2. `redis` may be an abandoned master that this process still has a connection to.
    void drain(SimulatedRedis& redis);
    /// Drained events older than `age_ms` go.
    void trim(SimulatedRedis& redis, std::int64_t age_ms);
    /// 6.5 for a bucket that is not ready.
    void reconcile(SimulatedRedis& redis);
    void send_pending(SimulatedRedis& redis);
    void reap(SimulatedRedis& redis);
    void refill(SimulatedRedis& redis);
    /// A grant; repeated with the same key it moves money once.
    void grant(SimulatedRedis& redis, AccountId account, std::int64_t amount, const std::string& idem_key);
    /// True: in force.
    bool revoke(SimulatedRedis& redis, KeyId key);

 private:
    void point() {
        if (dies_()) throw Crash{};
    }
    void rebuild(SimulatedRedis& redis, SimulatedBook& draft, const std::string& nonce);
    void resolve_late(SimulatedBook& draft, const LedgerEvent& late) const;
    void tell_everything(SimulatedRedis& redis, const SimulatedBook& from) const;

    SimulatedBook& book_;
    const Mutation mutation_;
    std::mt19937_64& random_;
    std::function<bool()> dies_;
    std::int64_t nonces_ = 0;
};

}  // namespace lumen::simulation

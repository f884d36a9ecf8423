// A gate of the simulation: its ring, its messages that get lost, come twice or late, and its replay (ledger.md 6.7).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/simulation/simulated_redis.h"

namespace lumen::simulation {

/// The wire between the gates and Redis. A call is lost, executed without its answer, executed twice, or, when its
/// answer was no longer waited for, much later.
class Wire {
 public:
    Wire(SimulatedRedis*& redis, std::mt19937_64& random) : redis_(redis), random_(random) {}
    using Call = std::function<std::string(SimulatedRedis&)>;

    /// The reply; nullopt: none came in time.
    std::optional<std::string> send(const Call& call);
    /// What was still on its way arrives.
    void deliver_one();
    /// Connections died: what was on its way is gone.
    void cut() { late_.clear(); }

    bool down = false;      ///< Redis cannot be reached
    bool reliable = false;  ///< at the end, when all wounds heal

 private:
    SimulatedRedis*& redis_;
    std::mt19937_64& random_;
    std::vector<Call> late_;
};

/// What became of a request, for the final check.
struct Told {
    AccountId account = 0;
    KeyId key = 0;
    std::optional<std::int64_t> cost;  ///< what it must have been charged in the end; none: it was void
    std::int64_t hold = 0;
};

class SimulatedGate {
 public:
    SimulatedGate(Wire& wire, std::mt19937_64& random, std::int64_t replay_ms)
        : wire_(wire), random_(random), replay_ms_(replay_ms) {}

    /// Takes a slot, asks for admission. The reply's word.
    std::string begin(const RequestId& id, AccountId account, KeyId key, std::int64_t hold);
    /// A running request goes on, is renewed, or ends.
    void work();
    /// Sends what is not acknowledged.
    void settle();
    /// Looks at `ready` where acknowledged settles may have been lost.
    void replay(std::int64_t now_ms);
    /// Workers die: running requests are settled at their local shadow, unanswered admits voided.
    void crash();
    void finish_all();

    std::size_t slots() const noexcept { return slots_.size(); }
    std::map<std::string, Told> told;  ///< requests that were admitted, or may have been

 private:
    enum class State { running, settle, settled };
    struct Slot {
        RequestId id;
        State state = State::running;
        AccountId account = 0;
        KeyId key = 0;
        std::int64_t hold = 0;
        std::int64_t shadow = 0;
        bool is_void = false;
        std::string token;
        std::int64_t waited_ms = 0;  ///< since the settle was acknowledged, while Redis was there and ready
        std::int64_t seen_ms = 0;
    };
    void end(Slot& slot, std::optional<std::int64_t> cost);

    Wire& wire_;
    std::mt19937_64& random_;
    const std::int64_t replay_ms_;
    std::map<std::string, Slot> slots_;
};

}  // namespace lumen::simulation

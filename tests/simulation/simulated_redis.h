// A Redis of the simulation: the scripts' model, and what a crash, an old file or a failover brings back of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/scripts/ledger_model.h"

namespace lumen::simulation {

/// One bucket of one server.
class SimulatedRedis {
 public:
    explicit SimulatedRedis(const std::string& replication_id) : model(replication_id), id_(replication_id) {}

    testing::LedgerModel model;
    std::int64_t epoch = -1;  ///< field of {b}:meta that no script touches; -1: none

    const std::string& replication_id() const noexcept { return id_; }
    /// A restart, a promotion, a first replica: what was ready is not any more.
    void change_id(const std::string& replication_id) {
        id_ = replication_id;
        model.change_master(replication_id);
    }
    void flush_all();

    std::int64_t bseq() const { return model.last_bseq(); }
    std::string ready_token() const;
    bool ready() const { return ready_token().substr(0, id_.size()) == id_ && !ready_token().empty(); }
    /// Events after `last_bseq` with their numbers, at most `count`.
    std::vector<std::pair<std::int64_t, std::string>> events_after(std::int64_t last_bseq, std::size_t count) const;
    std::int64_t first_bseq() const { return bseq() - static_cast<std::int64_t>(model.events().size()) + 1; }

 private:
    std::string id_;
};

}  // namespace lumen::simulation

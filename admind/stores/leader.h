// One leader among all admind of a database: a Postgres advisory lock, fenced by a term.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <pqxx/pqxx>
#include <string>

namespace lumen::admind {

/// Thread-safe. The lock lives with this object's own connection: if that is lost, so is the lead, at once at the
/// server and here with the next tick(). Whatever must not be done by two leaders in between checks holds_term().
class Leader {
 public:
    explicit Leader(std::string database_url);
    ~Leader();

    /// Tries to become the leader, or looks whether it still is. Called each second; never throws.
    void tick();
    bool is_leader() const;
    /// Number of this process's lead; 0: it does not lead.
    std::int64_t term() const;
    /// Is known who leads: this process, or another one?
    bool decided() const;
    std::string last_error() const;

    /// Is this process's term still the newest? Locks the row against a newer leader until the transaction ends.
    bool holds_term(pqxx::transaction_base& transaction) const;

 private:
    void try_to_lead();

    std::string url_;
    mutable std::mutex mutex_;
    std::unique_ptr<pqxx::connection> connection_;
    int backend_ = 0;        ///< process id of the server side: another one means that the lock is gone
    std::int64_t term_ = 0;  ///< 0: not the leader
    bool decided_ = false;
    std::string last_error_;
};

}  // namespace lumen::admind

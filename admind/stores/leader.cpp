#include "admind/stores/leader.h"

#include <utility>

#include "admind/stores/pg_pool.h"

namespace lumen::admind {

namespace {

// "lumen le" in ASCII; the lock on migrations is its neighbour.
constexpr const char* kTryLock = "select pg_try_advisory_lock(7815272424889578597), pg_backend_pid()";

}  // namespace

Leader::Leader(std::string database_url) : url_(std::move(database_url)) {}

Leader::~Leader() = default;

void Leader::tick() {
    std::lock_guard lock(mutex_);
    try {
        if (term_ > 0) {
            pqxx::nontransaction look(*connection_);
            // libpqxx reconnects by itself, and a new backend does not have our lock.
            if (look.exec1("select pg_backend_pid()")[0].as<int>() == backend_) return;
            term_ = 0;
        }
        try_to_lead();
        decided_ = true;
        last_error_.clear();
    } catch (const std::exception& error) {
        last_error_ = error.what();
        term_ = 0;
        decided_ = false;
        connection_.reset();
    }
}

void Leader::try_to_lead() {
    if (!connection_) connection_ = std::make_unique<pqxx::connection>(connection_string(url_));
    pqxx::nontransaction election(*connection_);
    const auto row = election.exec1(kTryLock);
    if (!row[0].as<bool>()) return;
    backend_ = row[1].as<int>();
    term_ = election.exec1("update leadership set term = term + 1 returning term")[0].as<std::int64_t>();
}

bool Leader::is_leader() const {
    std::lock_guard lock(mutex_);
    return term_ > 0;
}

std::int64_t Leader::term() const {
    std::lock_guard lock(mutex_);
    return term_;
}

bool Leader::decided() const {
    std::lock_guard lock(mutex_);
    return decided_;
}

std::string Leader::last_error() const {
    std::lock_guard lock(mutex_);
    return last_error_;
}

bool Leader::holds_term(pqxx::transaction_base& transaction) const {
    std::int64_t term = 0;
    {
        std::lock_guard lock(mutex_);
        term = term_;
    }
    return term > 0 && !transaction.exec_params("select 1 from leadership where term = $1 for share", term).empty();
}

}  // namespace lumen::admind

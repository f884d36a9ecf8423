// A bounded pool of libpqxx connections; every statement has a timeout set by the pool.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <pqxx/pqxx>
#include <stdexcept>
#include <string>
#include <vector>

namespace lumen::admind {

/// Postgres cannot be reached, or no connection became free in time: 503 database_unavailable.
struct DatabaseUnavailable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Others stood in the way of a statement for too long, or it was in the circle of a deadlock: its transaction has
/// changed nothing and may be repeated. (query_canceled, lock_not_available, deadlock_detected, serialization_failure)
bool gave_way(const pqxx::sql_error& error);

/// `url` (a URI or libpq keywords) with our time-outs as session options; for connections outside a pool.
std::string connection_string(const std::string& url);

class PgPool {
 public:
    /// Connects on demand: Postgres may still be down. `wait` bounds acquire() while all `size` connections are lent.
    PgPool(std::string url, std::size_t size, std::chrono::milliseconds wait);

    /// A connection for one unit of work; returned on destruction, dropped if it is broken.
    class Lease {
     public:
        Lease(Lease&&) noexcept;
        Lease& operator=(Lease&&) = delete;
        ~Lease();
        pqxx::connection& operator*() const noexcept { return *connection_; }
        pqxx::connection* operator->() const noexcept { return connection_.get(); }

     private:
        friend class PgPool;
        Lease(PgPool& pool, std::unique_ptr<pqxx::connection> connection) noexcept;
        PgPool* pool_;
        std::unique_ptr<pqxx::connection> connection_;
    };
    /// Throws DatabaseUnavailable.
    Lease acquire();

    const std::string& url() const noexcept { return url_; }

 private:
    void give_back(std::unique_ptr<pqxx::connection> connection) noexcept;

    std::string url_;
    std::size_t size_;
    std::chrono::milliseconds wait_;
    std::mutex mutex_;
    std::condition_variable freed_;
    std::size_t lent_ = 0;
    std::vector<std::unique_ptr<pqxx::connection>> idle_;
};

}  // namespace lumen::admind

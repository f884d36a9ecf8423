#include "admind/stores/pg_pool.h"

#include <poll.h>

#include <utility>

#include "admind/stores/pg_statement.h"

namespace lumen::admind {

namespace {

// Server-side bounds, so that no statement of ours outlives the request or job that asked for it. They travel in the
// connection string: they hold from the first statement on, and again after a reconnect.
constexpr const char* kSessionOptions =
    "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s -c lock_timeout=10s -c timezone=UTC";
constexpr const char* kConnectTimeoutSeconds = "5";

std::string percent_encoded(std::string_view text) {
    std::string encoded;
    for (char c : text) {
        if (c == ' ') {
            encoded += "%20";
        } else if (c == '=') {
            encoded += "%3D";
        } else {
            encoded += c;
        }
    }
    return encoded;
}

bool is_uri(std::string_view url) {
    return url.substr(0, 13) == "postgresql://" || url.substr(0, 11) == "postgres://";
}

/// The server closed an idle connection (a restart, a fail-over): bytes or an end of file wait on its socket.
bool went_stale(pqxx::connection& connection) {
    if (!connection.is_open()) return true;
    pollfd readable{connection.sock(), POLLIN, 0};
    return ::poll(&readable, 1, 0) != 0;
}

}  // namespace

bool gave_way(const pqxx::sql_error& error) {
    const std::string& state = error.sqlstate();
    return state == "57014" || state == "55P03" || state == "40P01" || state == "40001";
}

std::string connection_string(const std::string& url) {
    if (is_uri(url)) {
        const char separator = url.find('?') == std::string::npos ? '?' : '&';
        return url + separator + "connect_timeout=" + kConnectTimeoutSeconds +
               "&application_name=lumen-admind&options=" + percent_encoded(kSessionOptions);
    }
    return url + " connect_timeout=" + kConnectTimeoutSeconds + " application_name=lumen-admind options='" +
           kSessionOptions + "'";
}

PgPool::PgPool(std::string url, std::size_t size, std::chrono::milliseconds wait)
    : url_(std::move(url)), size_(size), wait_(wait) {}

PgPool::Lease PgPool::acquire() {
    std::unique_ptr<pqxx::connection> connection;
    {
        std::unique_lock lock(mutex_);
        if (!freed_.wait_for(lock, wait_, [this] { return lent_ < size_; })) {
            throw DatabaseUnavailable("no database connection became free in time");
        }
        ++lent_;
        if (!idle_.empty()) {
            connection = std::move(idle_.back());
            idle_.pop_back();
        }
    }
    // From here on the lease gives the place back, also when connecting fails.
    Lease lease(*this, std::move(connection));
    if (lease.connection_ && went_stale(*lease.connection_)) lease.connection_.reset();
    if (!lease.connection_) {
        try {
            lease.connection_ = std::make_unique<pqxx::connection>(connection_string(url_));
            forget_prepared(*lease.connection_);
        } catch (const pqxx::broken_connection& error) {
            throw DatabaseUnavailable(std::string("cannot connect to the database: ") + error.what());
        }
    }
    return lease;
}

void PgPool::give_back(std::unique_ptr<pqxx::connection> connection) noexcept {
    {
        std::lock_guard lock(mutex_);
        --lent_;
        if (connection && connection->is_open()) idle_.push_back(std::move(connection));
    }
    freed_.notify_one();
}

PgPool::Lease::Lease(PgPool& pool, std::unique_ptr<pqxx::connection> connection) noexcept
    : pool_(&pool), connection_(std::move(connection)) {}

PgPool::Lease::Lease(Lease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), connection_(std::move(other.connection_)) {}

PgPool::Lease::~Lease() {
    if (pool_) pool_->give_back(std::move(connection_));
}

}  // namespace lumen::admind

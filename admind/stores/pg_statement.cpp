#include "admind/stores/pg_statement.h"

#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace lumen::admind {

#if PQXX_VERSION_MAJOR >= 7

namespace {

// libpqxx 7 prepares at once, and a second time is an error; which connections know what is for us to remember.
struct Prepared {
    int backend = 0;  ///< the server's process: another one knows nothing
    std::set<const Statement*> statements;
};
std::mutex mutex;
std::map<const PgConnection*, Prepared> prepared;

/// The connection's own, and nobody else's while the mutex is held.
std::set<const Statement*>& prepared_on(const PgConnection& connection) {
    Prepared& known = prepared[&connection];
    if (std::exchange(known.backend, connection.backendpid()) != connection.backendpid()) known.statements.clear();
    return known.statements;
}

}  // namespace

void prepare_once(PgConnection& connection, const Statement& statement) {
    {
        const std::lock_guard lock(mutex);
        if (prepared_on(connection).count(&statement) > 0) return;
    }
    connection.prepare(statement.name, statement.text);
    const std::lock_guard lock(mutex);
    prepared_on(connection).insert(&statement);
}

void forget_prepared(const PgConnection& connection) noexcept {
    const std::lock_guard lock(mutex);
    prepared.erase(&connection);
}

#else

void prepare_once(PgConnection& connection, const Statement& statement) {
    connection.prepare(statement.name, statement.text);  // libpqxx 6 does it when it is first used, and once
}

void forget_prepared(const PgConnection&) noexcept {}

#endif

}  // namespace lumen::admind

#include "admind/stores/migrations.h"

#include <openssl/sha.h>

#include <map>
#include <pqxx/pqxx>
#include <stdexcept>

#include "admind/stores/pg_pool.h"

namespace lumen::admind {

namespace {

// Any number that nothing else in the database locks: "lumen mi" in ASCII.
constexpr const char* kLockMigrations = "select pg_advisory_xact_lock(7815272424889580905)";

std::string digest(std::string_view text) {
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash);
    std::string hex;
    for (unsigned char byte : hash) {
        hex += "0123456789abcdef"[byte >> 4];
        hex += "0123456789abcdef"[byte & 15];
    }
    return hex;
}

pqxx::connection connect(const std::string& url) {
    try {
        return pqxx::connection(connection_string(url));
    } catch (const pqxx::broken_connection& error) {
        throw DatabaseUnavailable(std::string("cannot connect to the database: ") + error.what());
    }
}

/// Name → digest of what the database has; empty for a new one.
std::map<std::string, std::string> applied_migrations(pqxx::transaction_base& transaction) {
    std::map<std::string, std::string> applied;
    if (transaction.exec1("select to_regclass('schema_migrations') is null")[0].as<bool>()) return applied;
    for (const auto& row : transaction.exec("select name, sha256 from schema_migrations")) {
        applied.emplace(row[0].as<std::string>(), row[1].as<std::string>());
    }
    return applied;
}

struct Comparison {
    std::vector<const Migration*> missing;
    std::size_t newer = 0;
};

Comparison compare(const std::map<std::string, std::string>& applied) {
    Comparison result;
    std::size_t known = 0;
    for (const Migration& migration : migrations()) {
        const auto found = applied.find(std::string(migration.name));
        if (found == applied.end()) {
            result.missing.push_back(&migration);
            continue;
        }
        ++known;
        if (found->second != digest(migration.sql)) {
            throw std::runtime_error("migration " + found->first +
                                     " was applied with another text: this database and "
                                     "this lumen-admind do not belong together");
        }
    }
    result.newer = applied.size() - known;
    return result;
}

void apply(pqxx::transaction_base& transaction, const Migration& migration) {
    // A migration may well take longer than a request's statement: the time-out is lifted for its transaction only.
    transaction.exec("set local statement_timeout = 0");
    transaction.exec(std::string(migration.sql));
    transaction.exec_params("insert into schema_migrations (name, sha256) values ($1, $2)", std::string(migration.name),
                            digest(migration.sql));
}

}  // namespace

std::vector<std::string> migrate(const std::string& database_url) {
    pqxx::connection connection = connect(database_url);
    std::vector<std::string> names;
    // One transaction each; the lock is taken anew for each, so what another admind did meanwhile is seen.
    for (;;) {
        pqxx::work transaction(connection);
        transaction.exec("set local lock_timeout = 0; set local statement_timeout = 0");
        transaction.exec(kLockMigrations);
        transaction.exec(
            "create table if not exists schema_migrations ("
            "name text primary key, sha256 text not null, applied_at timestamptz not null default now())");
        const auto [todo, newer] = compare(applied_migrations(transaction));
        if (newer > 0) {
            throw std::runtime_error("the database has migrations that this lumen-admind does not know: it is too old");
        }
        if (!todo.empty()) {
            apply(transaction, *todo.front());
            names.emplace_back(todo.front()->name);
        }
        transaction.commit();
        if (todo.empty()) return names;
    }
}

SchemaState schema_state(pqxx::transaction_base& transaction) {
    const Comparison found = compare(applied_migrations(transaction));
    SchemaState state;
    state.newer = found.newer;
    for (const Migration* migration : found.missing) state.missing.emplace_back(migration->name);
    return state;
}

SchemaState schema_state(const std::string& database_url) {
    pqxx::connection connection = connect(database_url);
    pqxx::read_transaction transaction(connection);
    return schema_state(transaction);
}

}  // namespace lumen::admind

#include "admind/stores/migrations.h"

#include <openssl/sha.h>

#include <map>
#include <optional>
#include <pqxx/pqxx>
#include <stdexcept>
#include <thread>
#include <utility>

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

Comparison compare(const std::map<std::string, std::string>& applied, const std::vector<Migration>& all) {
    Comparison result;
    std::size_t known = 0;
    for (const Migration& migration : all) {
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

/// Each of the two statements below waits this long: together less than the second after which Postgres looks for a
/// deadlock and picks who must give way.
constexpr const char* kLockWait = "set local statement_timeout = '400ms'";
/// Nothing else should be waited for then. If something is, it is not for ever.
constexpr const char* kNoOtherWait = "set local statement_timeout = 0; set local lock_timeout = '10s'";

/// Which tables in use a text names, and whether it gives them another shape, which nobody may watch.
constexpr const char* kNamedTables =
    "select quote_ident(t.relname), s.text ~* ('\\m(alter|drop|truncate)\\s+table[^;]*\\m' || t.relname || '\\M')"
    " from (select regexp_replace($1, '--[^\\n]*', '', 'g') as text) s, pg_class t"
    " where t.relnamespace = current_schema()::regnamespace and t.relkind in ('r', 'p') and not t.relispartition"
    " and s.text ~ ('\\m' || t.relname || '\\M') order by t.relname";

/// So that no statement of the migration waits for others while it holds what they wait for.
void lock_tables(pqxx::transaction_base& transaction, const Migration& migration) {
    std::string reshaped;
    std::string used;
    for (const auto& row : transaction.exec_params(kNamedTables, std::string(migration.sql))) {
        std::string& list = row[1].as<bool>() ? reshaped : used;
        list += (list.empty() ? "" : ", ") + row[0].as<std::string>();
    }
    transaction.exec(kLockWait);
    if (!reshaped.empty()) transaction.exec("lock table " + reshaped + " in access exclusive mode");
    if (!used.empty()) transaction.exec("lock table " + used + " in share row exclusive mode");
}

void apply(pqxx::transaction_base& transaction, const Migration& migration) {
    lock_tables(transaction, migration);
    transaction.exec(kNoOtherWait);
    transaction.exec(std::string(migration.sql));
    transaction.exec_params("insert into schema_migrations (name, sha256) values ($1, $2)", std::string(migration.name),
                            digest(migration.sql));
}

/// Applies the first that is missing, in one transaction. Returns its name, or nothing if none is.
std::optional<std::string> apply_next(pqxx::connection& connection, const std::vector<Migration>& all) {
    pqxx::work transaction(connection);
    transaction.exec("set local lock_timeout = 0; set local statement_timeout = 0");
    transaction.exec(kLockMigrations);
    transaction.exec(
        "create table if not exists schema_migrations ("
        "name text primary key, sha256 text not null, applied_at timestamptz not null default now())");
    const auto [todo, newer] = compare(applied_migrations(transaction), all);
    if (newer > 0) {
        throw std::runtime_error("the database has migrations that this lumen-admind does not know: it is too old");
    }
    if (todo.empty()) return std::nullopt;
    apply(transaction, *todo.front());
    transaction.commit();
    return std::string(todo.front()->name);
}

}  // namespace

std::vector<std::string> migrate(const std::string& database_url, const std::vector<Migration>& all,
                                 std::chrono::milliseconds patience) {
    constexpr auto kPause = std::chrono::milliseconds(100);
    pqxx::connection connection = connect(database_url);
    std::vector<std::string> names;
    auto deadline = std::chrono::steady_clock::now() + patience;
    // The lock is taken anew for each, so what another admind did meanwhile is seen.
    for (;;) {
        try {
            std::optional<std::string> applied = apply_next(connection, all);
            if (!applied) return names;
            names.push_back(std::move(*applied));
            deadline = std::chrono::steady_clock::now() + patience;
            continue;
        } catch (const pqxx::sql_error& error) {
            if (!gave_way(error)) throw;
        }
        if (std::chrono::steady_clock::now() >= deadline) {
            throw std::runtime_error(
                "tables that a migration changes stayed busy: something keeps a transaction open (a dump, a report; "
                "see "
                "pg_stat_activity). Let it end, then migrate again; nothing was changed by this one");
        }
        std::this_thread::sleep_for(kPause);
    }
}

SchemaState schema_state(pqxx::transaction_base& transaction) {
    const Comparison found = compare(applied_migrations(transaction), migrations());
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

// Brings the database to the schema this admind was built with (sql/NNNN_name.sql, embedded; forward only).
#pragma once

#include <chrono>
#include <pqxx/pqxx>
#include <string>
#include <string_view>
#include <vector>

namespace lumen::admind {

struct Migration {
    std::string_view name;  ///< "0001_ledger": applied in this order
    std::string_view sql;
};
/// Embedded at build time, by number.
const std::vector<Migration>& migrations();

/// Applies what is missing, each in one transaction, under a lock: any number of admind may start at once. Returns the
/// names applied now.
/// The tables in use that a migration names are locked before it begins, all in one statement that waits for half a
/// second: less than Postgres lets a deadlock stand (deadlock_timeout, 1 s), so no request and no drain is ever
/// sacrificed to a migration. If they are busy, or the migration itself meets a lock, it is rolled back and tried again
/// for `patience`.
/// Throws DatabaseUnavailable, pqxx::sql_error, or std::runtime_error when the database has a migration that this build
/// does not know or whose text differs, or when the tables stayed busy.
std::vector<std::string> migrate(const std::string& database_url, const std::vector<Migration>& all = migrations(),
                                 std::chrono::milliseconds patience = std::chrono::minutes(2));

struct SchemaState {
    std::vector<std::string> missing;  ///< names of the migrations that the database lacks
    std::size_t newer = 0;             ///< migrations that this build does not know: a newer admind has been here
};
/// A copy that runs while others are replaced meets a newer schema, and goes on: each migration leaves what the version
/// before it reads and writes. Throws DatabaseUnavailable, pqxx::sql_error, or std::runtime_error when the text of a
/// migration differs.
SchemaState schema_state(pqxx::transaction_base& transaction);
/// The same over a connection of its own.
SchemaState schema_state(const std::string& database_url);

}  // namespace lumen::admind

// Brings the database to the schema this admind was built with (sql/NNNN_name.sql, embedded; forward only).
#pragma once

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
/// names applied now. Throws DatabaseUnavailable, pqxx::sql_error, or std::runtime_error when the database has a
/// migration that this build does not know or whose text differs.
std::vector<std::string> migrate(const std::string& database_url);

/// Names of the migrations that the database lacks; for /readyz. Throws like migrate().
std::vector<std::string> missing_migrations(const std::string& database_url);

}  // namespace lumen::admind

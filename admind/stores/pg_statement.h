// Statements that Postgres parses once a connection, for what every page asks: of a short query parsing and planning
// are a good part.
#pragma once

#include <pqxx/pqxx>
#include <type_traits>
#include <utility>

namespace lumen::admind {

/// Both with static storage. `name` is no other statement's.
struct Statement {
    const char* name;
    const char* text;
};

using PgConnection = std::remove_reference_t<decltype(std::declval<pqxx::transaction_base&>().conn())>;

/// Sees to it that the connection knows the statement; costs a round trip the first time.
void prepare_once(PgConnection& connection, const Statement& statement);
/// A connection that was just made knows none, whichever was at its address before.
void forget_prepared(const PgConnection& connection) noexcept;

/// Of a connection out of a PgPool. Throws what exec_params() does.
template <typename... Arguments>
pqxx::result exec_prepared(pqxx::transaction_base& transaction, const Statement& statement, Arguments&&... arguments) {
    prepare_once(transaction.conn(), statement);
    return transaction.exec_prepared(statement.name, std::forward<Arguments>(arguments)...);
}

/// Of one row; throws pqxx::unexpected_rows if there is none, or more.
template <typename... Arguments>
pqxx::row exec_prepared1(pqxx::transaction_base& transaction, const Statement& statement, Arguments&&... arguments) {
    prepare_once(transaction.conn(), statement);
    return transaction.exec_prepared1(statement.name, std::forward<Arguments>(arguments)...);
}

}  // namespace lumen::admind

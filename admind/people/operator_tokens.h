// Operator tokens `lop_…`: for scripts, with a scope. Only a keyed hash is stored.
#pragma once

#include <cstdint>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <string_view>

namespace lumen::admind {

enum class OperatorScope : std::uint8_t { read = 0, write = 1, admin = 2 };
std::string_view scope_name(OperatorScope scope) noexcept;
std::optional<OperatorScope> scope_of(std::string_view name) noexcept;

struct OperatorToken {
    std::int64_t id = 0;
    std::string name;
    OperatorScope scope = OperatorScope::read;
    std::string hint;
    std::string created_by;
    std::int64_t created_ms = 0;
    std::int64_t expires_ms = 0;    ///< 0 = never
    std::int64_t revoked_ms = 0;    ///< 0 = in force
    std::int64_t last_used_ms = 0;  ///< by the minute; 0 = never
};

struct NewOperatorToken {
    OperatorToken token;
    std::string secret;  ///< shown once
};
NewOperatorToken create_operator_token(pqxx::transaction_base& transaction, std::string_view installation_secret,
                                       const std::string& name, OperatorScope scope, std::int64_t expires_ms,
                                       const std::string& created_by);
/// The token of this secret if it is in force. Also notes its use, once a minute. One that was hashed under the
/// installation secret before (empty: there is none) is hashed under the one in force from then on.
std::optional<OperatorToken> find_operator_token(pqxx::transaction_base& transaction,
                                                 std::string_view installation_secret, std::string_view previous_secret,
                                                 std::string_view secret);
/// A select of all of them, for a page; each row is read by read_operator_token.
std::string operator_tokens_query();
OperatorToken read_operator_token(const pqxx::row& row);
/// False: no such token. Repeats are harmless.
bool revoke_operator_token(pqxx::transaction_base& transaction, std::int64_t id);

}  // namespace lumen::admind

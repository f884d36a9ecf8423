#include "admind/people/operator_tokens.h"

#include "admind/people/sessions.h"
#include "lumen_core/api_key.h"

namespace lumen::admind {

namespace {

constexpr const char* kColumns =
    "id, name, scope, hint, created_by, (extract(epoch from created_at) * 1000)::bigint created_ms,"
    " coalesce((extract(epoch from expires_at) * 1000)::bigint, 0) expires_ms,"
    " coalesce((extract(epoch from revoked_at) * 1000)::bigint, 0) revoked_ms,"
    " coalesce((extract(epoch from last_used_at) * 1000)::bigint, 0) last_used_ms";

pqxx::binarystring hash_of(std::string_view installation_secret, std::string_view secret) {
    const KeyHash hash = hash_api_key(installation_secret, secret);
    return pqxx::binarystring(hash.data(), hash.size());
}

}  // namespace

OperatorToken read_operator_token(const pqxx::row& row) {
    OperatorToken token;
    token.id = row["id"].as<std::int64_t>();
    token.name = row["name"].as<std::string>();
    token.scope = scope_of(row["scope"].as<std::string>()).value_or(OperatorScope::read);
    token.hint = row["hint"].as<std::string>();
    token.created_by = row["created_by"].as<std::string>();
    token.created_ms = row["created_ms"].as<std::int64_t>();
    token.expires_ms = row["expires_ms"].as<std::int64_t>();
    token.revoked_ms = row["revoked_ms"].as<std::int64_t>();
    token.last_used_ms = row["last_used_ms"].as<std::int64_t>();
    return token;
}

std::string_view scope_name(OperatorScope scope) noexcept {
    switch (scope) {
        case OperatorScope::read:
            return "read";
        case OperatorScope::write:
            return "write";
        case OperatorScope::admin:
            return "admin";
    }
    return "read";
}

std::optional<OperatorScope> scope_of(std::string_view name) noexcept {
    for (const OperatorScope scope : {OperatorScope::read, OperatorScope::write, OperatorScope::admin}) {
        if (scope_name(scope) == name) return scope;
    }
    return std::nullopt;
}

NewOperatorToken create_operator_token(pqxx::transaction_base& transaction, std::string_view installation_secret,
                                       const std::string& name, OperatorScope scope, std::int64_t expires_ms,
                                       const std::string& created_by) {
    NewOperatorToken made;
    made.secret = make_operator_token(random_256());
    const std::string query = std::string(
                                  "insert into operator_tokens (name, scope, hint, token_hash, created_by, expires_at,"
                                  " secret_id) values ($1, $2, $3, $4, $5, case when $6::bigint > 0 then"
                                  " to_timestamp($6::numeric / 1000) end, $7) returning ") +
                              kColumns;
    made.token = read_operator_token(transaction.exec_params1(query, name, std::string(scope_name(scope)),
                                                              api_key_hint(made.secret),
                                                              hash_of(installation_secret, made.secret), created_by,
                                                              expires_ms, installation_secret_id(installation_secret)));
    return made;
}

std::optional<OperatorToken> find_operator_token(pqxx::transaction_base& transaction,
                                                 std::string_view installation_secret, std::string_view previous_secret,
                                                 std::string_view secret) {
    if (secret.size() > kMaxApiKeyBytes) return std::nullopt;
    const std::string query = std::string("select ") + kColumns +
                              ", last_used_at is null or last_used_at < now() - interval '1 minute' as note_use,"
                              " token_hash = $1 as current"
                              " from operator_tokens where token_hash in ($1, $2) and revoked_at is null"
                              " and (expires_at is null or expires_at > now())";
    const pqxx::binarystring hash = hash_of(installation_secret, secret);
    const auto rows =
        transaction.exec_params(query, hash, previous_secret.empty() ? hash : hash_of(previous_secret, secret));
    if (rows.empty()) return std::nullopt;
    OperatorToken token = read_operator_token(rows[0]);
    if (!rows[0]["current"].as<bool>()) {
        transaction.exec_params0("update operator_tokens set token_hash = $2, secret_id = $3 where id = $1", token.id,
                                 hash, installation_secret_id(installation_secret));
    }
    if (rows[0]["note_use"].as<bool>()) {
        transaction.exec_params0("update operator_tokens set last_used_at = now() where id = $1", token.id);
    }
    return token;
}

std::string operator_tokens_query() {
    return std::string("select ") + kColumns + ", lower(name) sort_name, last_used_at from operator_tokens";
}

bool revoke_operator_token(pqxx::transaction_base& transaction, std::int64_t id) {
    const auto rows = transaction.exec_params(
        "update operator_tokens set revoked_at = coalesce(revoked_at, now()) where id = $1", id);
    return rows.affected_rows() > 0;
}

}  // namespace lumen::admind

// Changing the installation secret without breaking a key (docs/security.md): both secrets are known for a while; what
// is stored under the one before moves to the one in force, and an operator sees when nothing is left there.
#pragma once

#include <cstdint>
#include <pqxx/pqxx>
#include <string>
#include <string_view>
#include <vector>

#include "admind/settings/settings.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"

namespace lumen::admind {

/// Seals endpoints' credentials under the secret in force, and names the secret of hashes that have no name yet: made
/// before there was a second one, so under the oldest that is known now.
void adopt_secret(pqxx::transaction_base& transaction, const AppSettings& app);

/// Whether that is the name of one of the secrets in use. No name, in rows older than names: yes.
bool knows_secret(const AppSettings& app, std::string_view secret_id);

/// Takes the new hashes of keys that gates saw in use (kRehashKey); how many. Nothing to do without a previous secret.
/// A key works at every moment: Redis knows the new hash before the book does, and the old one until it is rebuilt.
std::size_t take_rehashes(PgPool& postgres, RedisLink& redis, const AppSettings& app);

/// What would stop working, were the previous secret dropped now.
struct LeftBehind {
    struct Key {
        std::int64_t id = 0;
        std::string owner;  ///< address of the person, or name of the project
        std::string name;
        std::string hint;
        std::int64_t last_used_ms = 0;  ///< 0: never
    };
    std::vector<Key> keys;  ///< active and paused ones, the latest used first; at most kMostKeysLeftBehind
    std::int64_t key_count = 0;
    std::int64_t token_count = 0;  ///< operator tokens in force
    bool none() const noexcept { return key_count == 0 && token_count == 0; }
};
inline constexpr int kMostKeysLeftBehind = 200;
LeftBehind left_behind(pqxx::transaction_base& transaction, const AppSettings& app);

}  // namespace lumen::admind

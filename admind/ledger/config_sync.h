// Tells Redis the configuration of accounts and keys as the book has it. Versions win, so every call may be repeated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "admind/ledger/pg_store_ledger.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

/// Two versions in Redis for each of the book's: the odd one before it carries all but limit, rate and unlimited. It is
/// sent while a bucket is not ready, when the hours due at the old rate cannot be credited yet (set_account would skip
/// them); the even one follows after mark_ready. So rights never wait for readiness, and money does.
constexpr std::int64_t version_in_redis(std::int64_t book_version) noexcept {
    return 2 * book_version;
}

/// With Redis's version.
AccountConfig config_in_redis(const AccountConfig& config);

enum class Told {
    all,
    all_but_money,  ///< tell again when the bucket is ready
};

/// One account, whatever state its bucket is in.
Told tell_account(RedisLink& redis, const BookAccount& account);
/// One key and its lookup entry; a new key is known before it can be looked up.
void tell_key(RedisLink& redis, const BookKey& key);

/// All of it, money included, whatever Redis has: in a rebuild, where load_account has set the last refilled hour so
/// that no hour is paid at a wrong rate.
void tell_accounts_of_rebuild(RedisLink& redis, const std::vector<BookAccount>& accounts);

struct ConfigDifferences {
    std::vector<const BookAccount*> accounts;  ///< Redis has an older version, or none
    std::vector<const BookKey*> keys;
    std::string ahead;  ///< not empty: Redis has a newer version than the book, and which; a person must decide
};
/// Ledger.md 6.5 step 3: versions of all accounts and keys of one bucket.
ConfigDifferences compare_config(RedisLink& redis, const std::vector<BookAccount>& accounts,
                                 const std::vector<BookKey>& keys);

/// The lookup entries of one bucket of key hashes.
void load_lookups(RedisLink& redis, Bucket lookup_bucket, const std::vector<BookLookup>& lookups);

/// Waits until a replica has all that this link wrote to the bucket's server; true at once where there is none. A
/// revocation that a failover could forget is not in force.
bool replicated(RedisLink& redis, Bucket bucket);

}  // namespace lumen::admind

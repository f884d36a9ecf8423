// Accounts and keys that Redis has and the book does not: they were made after the backup that the book was restored
// from. Their ids must never be given again: a new account would find a stranger's wallet.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

struct Strangers {
    std::vector<AccountId> accounts;
    std::vector<std::pair<AccountId, KeyId>> keys;  ///< also those of accounts that the book knows
    bool empty() const noexcept { return accounts.empty() && keys.empty(); }
};

/// One walk over all of Redis, in small steps. The book is asked last: what is being made meanwhile is no stranger.
Strangers find_strangers(PgPool& postgres, RedisLink& redis);

/// The book's next ids lie above theirs.
void skip_ids(PgPool& postgres, const Strangers& strangers);

/// Takes them out of Redis; a line for each that says what it was.
std::vector<std::string> remove_strangers(RedisLink& redis, const Strangers& strangers);

}  // namespace lumen::admind

// Puts one bucket of Redis into service: proves that it lost nothing, or rebuilds it from the book (ledger.md 6.5).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "admind/ledger/bucket_book.h"
#include "admind/stores/pg_pool.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

enum class BucketState {
    was_ready,    ///< somebody else did it
    ready,        ///< nothing was lost
    rebuilt,      ///< from the book
    interrupted,  ///< another master, or flushed meanwhile: again from the start
    blocked,      ///< Redis and the book contradict each other; it stays out of service until a person decides
};

struct BucketOutcome {
    BucketState state = BucketState::interrupted;
    std::string reason;          ///< of a rebuild, a block, an interruption
    std::size_t holds_kept = 0;  ///< of a rebuild
    std::size_t holds_dropped = 0;
    std::size_t foreign_events = 0;  ///< written to a file before they were removed
    std::vector<AccountId>
        refilled;  ///< once it is in service: accounts that hours may be due to, for credit_refills()
};

/// `spool_directory`: where events of a foreign epoch are kept for a person to look at. Throws what Redis and Postgres
/// throw; the bucket is then not ready, and the next call begins anew.
BucketOutcome make_bucket_ready(PgPool& postgres, RedisLink& redis, Bucket bucket, const std::string& spool_directory);

/// Hours that passed while the bucket was out of service. Admission would credit them too, but pages show balances; so
/// it can wait until other buckets are in service.
void credit_refills(RedisLink& redis, const std::vector<AccountId>& accounts);

/// The last steps of a reconciliation: lookups, the position's source and epoch, COMMIT, mark_ready. Not empty: why the
/// bucket is not ready all the same; the whole reconciliation begins anew then.
std::string put_into_service(pqxx::transaction_base& transaction, RedisLink& redis, const BucketBook& book,
                             std::int64_t epoch, const std::string& nonce, const std::string& replication_id);

/// Names one reconciliation.
std::string new_nonce();

/// Step 3 for a bucket in service: tells what Redis does not know yet. Returns how many accounts and keys that were.
/// If Redis knows more than the book, the book was put back: the bucket is taken out of service and `ahead` says why.
struct ConfigRepeat {
    std::size_t told = 0;
    std::string ahead;
};
ConfigRepeat repeat_bucket_config(PgPool& postgres, RedisLink& redis, Bucket bucket);

}  // namespace lumen::admind

// What the two stores have of one bucket, as far as one has to be held against the other (ledger.md 6.5).
#pragma once

#include <cstdint>
#include <map>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "admind/ledger/pg_store_ledger.h"
#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen::admind {

struct StreamPosition {
    std::int64_t last_bseq = 0;
    std::int64_t epoch = 0;  ///< -1: Redis has none
    std::string source;      ///< the book's: the master whose stream may be drained
};

struct BookBalance {
    NanoCoins balance;
    std::int64_t seq = 0;
    std::int64_t opn = 0;
    std::int64_t last_refill_hour = 0;
    std::int64_t last_recorded_opn = 0;  ///< the book's newest money operation, drained or not
    bool refilled = false;               ///< limited, with a rate
};
using BookBalances = std::map<AccountId, BookBalance>;

/// All that the book knows of a bucket.
struct BucketBook {
    Bucket bucket = 0;
    StreamPosition position;
    std::vector<BookAccount> accounts;
    std::vector<BookKey> keys;
    BookBalances balances;
};

/// Locks the bucket's position until the transaction ends: no drainer and no other reconciliation comes in between.
BucketBook read_bucket_book(pqxx::transaction_base& transaction, Bucket bucket);

StreamPosition position_in_redis(RedisLink& redis, Bucket bucket);

/// The money part of an account's hash.
struct WalletInRedis {
    bool known = false;
    NanoCoins balance;
    std::int64_t seq = 0;
    std::int64_t opn = 0;
    std::int64_t last_refill_hour = 0;
    bool active = true;
};
/// In the order of `balances`.
std::vector<WalletInRedis> wallets_in_redis(RedisLink& redis, const BookBalances& balances);

/// Redis served after a rebuild that the book has forgotten: it lost commits. If the stream leads from the book's
/// position on, nothing else is missing.
bool went_on_after_rebuild(const BucketBook& book, const StreamPosition& found);

/// Not empty: Redis has what the book never recorded (a later rebuild, a newer version of an account or a key, a money
/// operation), and which, so the book was put back.
std::string redis_ahead(RedisLink& redis, const BucketBook& book, const StreamPosition& found);

/// Are the events last_bseq + 1 … bseq all there?
bool stream_unbroken(RedisLink& redis, Bucket bucket, std::int64_t last_bseq, std::int64_t bseq);

}  // namespace lumen::admind

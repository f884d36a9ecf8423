#include "admind/ledger/bucket_ready.h"

#include <algorithm>
#include <random>

#include "admind/ledger/bucket_rebuild.h"
#include "admind/ledger/config_sync.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

namespace {

/// Tells the differences; the accounts whose money part must wait for mark_ready.
std::vector<const BookAccount*> tell_differences(RedisLink& redis, const ConfigDifferences& differences) {
    std::vector<const BookAccount*> waiting;
    for (const BookKey* key : differences.keys) tell_key(redis, *key);
    for (const BookAccount* account : differences.accounts) {
        if (tell_account(redis, *account) == Told::all_but_money) waiting.push_back(account);
    }
    return waiting;
}

bool is_ready(RedisLink& redis, Bucket bucket, const std::string& replication_id) {
    const RedisReply token = redis.command({"HGET", bucket_key(bucket, "meta"), "ready"});
    return reply_text(token.get()).substr(0, replication_id.size()) == replication_id;
}

}  // namespace

void credit_refills(RedisLink& redis, const std::vector<AccountId>& accounts) {
    for (std::size_t sent = 0; sent < accounts.size(); sent += RefillCall::kMostAccounts) {
        RefillCall call(&accounts[sent], std::min(accounts.size() - sent, RefillCall::kMostAccounts), -1);
        redis.append(call);
    }
    while (redis.outstanding() > 0) redis.next();
}

std::string new_nonce() {
    std::random_device random;
    std::string nonce;
    for (int i = 0; i < 16; ++i) nonce += "0123456789abcdef"[random() % 16];
    return nonce;
}

std::string put_into_service(pqxx::transaction_base& transaction, RedisLink& redis, const BucketBook& book,
                             std::int64_t epoch, const std::string& nonce, const std::string& replication_id) {
    load_lookups(redis, book.bucket, read_lookups(transaction, book.bucket));
    transaction.exec_params("update stream_positions set source = $2, epoch = $3 where bucket = $1",
                            static_cast<int>(book.bucket), replication_id, epoch);
    transaction.commit();
    MarkReadyCall ready(book.bucket, nonce, replication_id);
    const Reply reply = parse_reply(Script::mark_ready, redis.call(ready)).reply;
    if (reply == Reply::ok) return {};
    return reply == Reply::moved ? "another master" : "flushed, or another reconciliation began";
}

BucketOutcome make_bucket_ready(PgPool& postgres, RedisLink& redis, Bucket bucket, const std::string& spool_directory) {
    BucketOutcome outcome;
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    BucketBook book = read_bucket_book(transaction, bucket);
    const std::string replication_id = redis.master_replication_id(bucket);
    if (replication_id.empty()) {
        outcome.reason = "the server is a replica";
        return outcome;
    }
    if (is_ready(redis, bucket, replication_id) && book.position.source == replication_id) {
        outcome.state = BucketState::was_ready;
        return outcome;
    }
    const std::string nonce = new_nonce();
    BeginRebuildCall begin(bucket, nonce);
    redis.call(begin);

    const StreamPosition found = position_in_redis(redis, bucket);
    if (!redis_ahead(redis, book, found).empty()) {
        // What was changed between the reading of the book and of Redis looks ahead once, a book put back always.
        book = read_bucket_book(transaction, bucket);
        const std::string ahead = redis_ahead(redis, book, found);
        if (!ahead.empty()) {
            outcome.state = BucketState::blocked;
            outcome.reason = "redis is ahead of the book in " + ahead + ": was the book restored from a backup?";
            return outcome;
        }
    }
    const bool went_on = went_on_after_rebuild(book, found);
    const bool other_epoch = found.epoch != book.position.epoch && !went_on;
    const bool behind = found.last_bseq < book.position.last_bseq;
    std::int64_t epoch = 0;
    std::vector<const BookAccount*> waiting;
    outcome.state = BucketState::ready;
    if (other_epoch || behind) {
        epoch = std::max(book.position.epoch, found.epoch) + 1;
        const RebuildResult rebuilt = rebuild_bucket(transaction, redis, book, found, epoch, nonce, spool_directory);
        outcome.holds_kept = rebuilt.holds_kept;
        outcome.holds_dropped = rebuilt.holds_dropped;
        outcome.foreign_events = rebuilt.foreign_events;
        if (!rebuilt.done) {
            outcome.state = BucketState::interrupted;
            outcome.reason = "another reconciliation began";
            return outcome;
        }
        outcome.state = BucketState::rebuilt;
        outcome.reason = found.epoch < 0 ? "redis has nothing of it"
                         : other_epoch   ? "another epoch"
                                         : "the book is ahead";
    } else if (!stream_unbroken(redis, bucket, book.position.last_bseq, found.last_bseq)) {
        outcome.state = BucketState::blocked;
        outcome.reason = "hole in the stream after bseq=" + std::to_string(book.position.last_bseq);
        return outcome;
    } else {
        waiting = tell_differences(redis, compare_config(redis, book.accounts, book.keys));
        // From here on this is a history of its own: data of one that was given up, with the same numbers for other
        // events, has another epoch. First in Redis: a crash before the COMMIT looks like a commit that was lost.
        epoch = std::max(book.position.epoch, found.epoch) + 1 +
                static_cast<std::int64_t>(std::random_device{}() % 1'000'000);
        redis.command({"HSET", bucket_key(bucket, "meta"), "epoch", std::to_string(epoch)});
    }
    const std::string interrupted = put_into_service(transaction, redis, book, epoch, nonce, replication_id);
    if (!interrupted.empty()) {
        outcome.state = BucketState::interrupted;
        outcome.reason = interrupted;
        return outcome;
    }
    for (const BookAccount* account : waiting) tell_account(redis, *account);
    for (const auto& [account, balance] : book.balances) {
        if (balance.refilled) outcome.refilled.push_back(account);
    }
    return outcome;
}

ConfigRepeat repeat_bucket_config(PgPool& postgres, RedisLink& redis, Bucket bucket) {
    ConfigRepeat result;
    // Twice: what was changed between the reading of the book and of Redis looks ahead once, a book put back always.
    for (int attempt = 0; attempt < 2; ++attempt) {
        auto connection = postgres.acquire();
        pqxx::read_transaction transaction(*connection);
        const std::vector<BookAccount> accounts = read_accounts(transaction, bucket);
        const std::vector<BookKey> keys = read_keys(transaction, bucket);
        const std::vector<BookLookup> lookups = read_lookups(transaction, bucket);
        transaction.commit();
        const ConfigDifferences differences = compare_config(redis, accounts, keys);
        result.ahead = differences.ahead;
        if (!result.ahead.empty()) continue;
        result.told = differences.accounts.size() + differences.keys.size();
        tell_differences(redis, differences);
        load_lookups(redis, bucket, lookups);
        return result;
    }
    BeginRebuildCall out_of_service(bucket, new_nonce());
    redis.call(out_of_service);
    return result;
}

}  // namespace lumen::admind

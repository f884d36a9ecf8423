#include "admind/bucket_ready.h"

#include <charconv>
#include <optional>
#include <random>

#include "admind/bucket_rebuild.h"
#include "admind/config_sync.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kEventsPerRead = 10'000;

std::optional<std::int64_t> number_of(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::string new_nonce() {
    std::random_device random;
    std::string nonce;
    for (int i = 0; i < 16; ++i) nonce += "0123456789abcdef"[random() % 16];
    return nonce;
}

BookBalances read_balances(pqxx::transaction_base& transaction, Bucket bucket) {
    BookBalances balances;
    for (const auto& row : transaction.exec_params(
             "select b.account_id, b.balance, b.seq, b.opn, greatest(b.last_refill_hour, a.rate_since_hour), "
             "o.next_opn - 1, not a.unlimited and coalesce(a.lim, 0) > 0 and a.rate > 0 "
             "from account_balances b join accounts a on a.id = b.account_id "
             "join account_ops o on o.account_id = b.account_id where a.bucket = $1",
             static_cast<int>(bucket))) {
        BookBalance& balance = balances[row[0].as<AccountId>()];
        balance.balance = NanoCoins(row[1].as<std::int64_t>());
        balance.seq = row[2].as<std::int64_t>();
        balance.opn = row[3].as<std::int64_t>();
        balance.last_refill_hour = row[4].as<std::int64_t>();
        balance.last_recorded_opn = row[5].as<std::int64_t>();
        balance.refilled = row[6].as<bool>();
    }
    return balances;
}

/// Not empty: Redis has done money operations that the book never recorded, so the book was put back.
std::string money_ahead(RedisLink& redis, const BookBalances& balances) {
    for (const auto& [account, balance] : balances) redis.append({"HGET", account_key(account), "opn"});
    std::string ahead;
    for (const auto& [account, balance] : balances) {
        const RedisReply reply = redis.next();
        if (number_of(reply_text(reply.get())).value_or(0) > balance.last_recorded_opn) {
            ahead = "money operations of account " + std::to_string(account);
        }
    }
    return ahead;
}

/// Are the events last_bseq + 1 … bseq all there?
bool stream_unbroken(RedisLink& redis, Bucket bucket, std::int64_t last_bseq, std::int64_t bseq) {
    const std::string stream = bucket_key(bucket, "events");
    const std::string count = std::to_string(kEventsPerRead);
    while (last_bseq < bseq) {
        const RedisReply entries =
            redis.command({"XRANGE", stream, std::to_string(last_bseq + 1) + "-0", "+", "COUNT", count});
        if (entries->elements == 0) return false;
        for (std::size_t i = 0; i < entries->elements; ++i) {
            if (reply_text(entries->element[i]->element[0]) != std::to_string(++last_bseq) + "-0") return false;
        }
    }
    return last_bseq == bseq;
}

/// What Redis remembers of a bucket; epoch -1 if nothing.
StreamPosition position_in_redis(RedisLink& redis, Bucket bucket) {
    const RedisReply fields = redis.command({"HMGET", bucket_key(bucket, "meta"), "bseq", "epoch"});
    StreamPosition position;
    position.last_bseq = number_of(reply_text(fields->element[0])).value_or(0);
    position.epoch = number_of(reply_text(fields->element[1])).value_or(-1);
    return position;
}

BucketBook read_bucket_book(pqxx::transaction_base& transaction, Bucket bucket) {
    BucketBook book;
    book.bucket = bucket;
    const auto row = transaction.exec_params1(
        "select last_bseq, epoch from stream_positions where bucket = $1 for update", static_cast<int>(bucket));
    book.position.last_bseq = row[0].as<std::int64_t>();
    book.position.epoch = row[1].as<std::int64_t>();
    book.accounts = read_accounts(transaction, bucket);
    book.keys = read_keys(transaction, bucket);
    book.balances = read_balances(transaction, bucket);
    return book;
}

/// Tells the differences; the accounts whose money part must wait for mark_ready.
std::vector<const BookAccount*> tell_differences(RedisLink& redis, const ConfigDifferences& differences) {
    std::vector<const BookAccount*> waiting;
    for (const BookKey* key : differences.keys) tell_key(redis, *key);
    for (const BookAccount* account : differences.accounts) {
        if (tell_account(redis, *account) == Told::all_but_money) waiting.push_back(account);
    }
    return waiting;
}

/// Hours that passed while the bucket was out of service; admission would credit them too, but pages show balances.
void credit_refills_due(RedisLink& redis, const BookBalances& balances) {
    for (const auto& [account, balance] : balances) {
        if (!balance.refilled) continue;
        RefillCall call(account, -1);
        redis.append(call);
    }
    while (redis.outstanding() > 0) redis.next();
}

bool is_ready(RedisLink& redis, Bucket bucket, const std::string& replication_id) {
    const RedisReply token = redis.command({"HGET", bucket_key(bucket, "meta"), "ready"});
    return reply_text(token.get()).substr(0, replication_id.size()) == replication_id;
}

}  // namespace

BucketOutcome make_bucket_ready(PgPool& postgres, RedisLink& redis, Bucket bucket, const std::string& spool_directory) {
    BucketOutcome outcome;
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    BucketBook book = read_bucket_book(transaction, bucket);
    const std::string replication_id = redis.master_replication_id();
    if (replication_id.empty()) {
        outcome.reason = "the server is a replica";
        return outcome;
    }
    if (is_ready(redis, bucket, replication_id)) {
        outcome.state = BucketState::was_ready;
        return outcome;
    }
    const std::string nonce = new_nonce();
    BeginRebuildCall begin(bucket, nonce);
    redis.call(begin);

    const StreamPosition found = position_in_redis(redis, bucket);
    ConfigDifferences differences = compare_config(redis, book.accounts, book.keys);
    std::string ahead = differences.ahead.empty() ? money_ahead(redis, book.balances) : differences.ahead;
    if (!ahead.empty()) {
        // What was changed between the reading of the book and of Redis looks ahead once, a book put back always.
        book = read_bucket_book(transaction, bucket);
        differences = compare_config(redis, book.accounts, book.keys);
        ahead = differences.ahead.empty() ? money_ahead(redis, book.balances) : differences.ahead;
    }
    if (!ahead.empty()) {
        outcome.state = BucketState::blocked;
        outcome.reason = "redis is ahead of the book in " + ahead + ": was the book restored from a backup?";
        return outcome;
    }
    const bool other_epoch = found.epoch != book.position.epoch;
    const bool behind = found.last_bseq < book.position.last_bseq;
    std::int64_t epoch = book.position.epoch;
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
        waiting = tell_differences(redis, differences);
    }
    load_lookups(redis, bucket, read_lookups(transaction, bucket));
    transaction.exec_params("update stream_positions set source = $2, epoch = $3 where bucket = $1",
                            static_cast<int>(bucket), replication_id, epoch);
    transaction.commit();

    MarkReadyCall ready(bucket, nonce, replication_id);
    const Reply reply = parse_reply(Script::mark_ready, redis.call(ready)).reply;
    if (reply != Reply::ok) {
        outcome.state = BucketState::interrupted;
        outcome.reason = reply == Reply::moved ? "another master" : "flushed, or another reconciliation began";
        return outcome;
    }
    for (const BookAccount* account : waiting) tell_account(redis, *account);
    credit_refills_due(redis, book.balances);
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

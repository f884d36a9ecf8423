#include "admind/ledger/bucket_book.h"

#include <charconv>
#include <optional>

#include "admind/ledger/config_sync.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kEventsPerQuery = 10'000;

std::optional<std::int64_t> number_of(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
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

}  // namespace

BucketBook read_bucket_book(pqxx::transaction_base& transaction, Bucket bucket) {
    BucketBook book;
    book.bucket = bucket;
    const auto row = transaction.exec_params1(
        "select last_bseq, epoch, source from stream_positions where bucket = $1 for update", static_cast<int>(bucket));
    book.position.last_bseq = row[0].as<std::int64_t>();
    book.position.epoch = row[1].as<std::int64_t>();
    book.position.source = row[2].as<std::string>();
    book.accounts = read_accounts(transaction, bucket);
    book.keys = read_keys(transaction, bucket);
    book.balances = read_balances(transaction, bucket);
    return book;
}

StreamPosition position_in_redis(RedisLink& redis, Bucket bucket) {
    const RedisReply fields = redis.command({"HMGET", bucket_key(bucket, "meta"), "bseq", "epoch"});
    StreamPosition position;
    position.last_bseq = number_of(reply_text(fields->element[0])).value_or(0);
    position.epoch = number_of(reply_text(fields->element[1])).value_or(-1);
    return position;
}

std::vector<WalletInRedis> wallets_in_redis(RedisLink& redis, const BookBalances& balances) {
    for (const auto& [account, balance] : balances) {
        redis.append({"HMGET", account_key(account), "bal", "seq", "opn", "lrh", "st"});
    }
    std::vector<WalletInRedis> wallets;
    for (std::size_t i = 0; i < balances.size(); ++i) {
        const RedisReply fields = redis.next();
        const auto field = [&](std::size_t index) { return number_of(reply_text(fields->element[index])).value_or(0); };
        WalletInRedis wallet;
        wallet.known = fields->type == REDIS_REPLY_ARRAY && !reply_text(fields->element[0]).empty();
        if (wallet.known) {
            wallet.balance = NanoCoins(field(0));
            wallet.seq = field(1);
            wallet.opn = field(2);
            wallet.last_refill_hour = field(3);
            wallet.active = field(4) != 2;
        }
        wallets.push_back(wallet);
    }
    return wallets;
}

bool went_on_after_rebuild(const BucketBook& book, const StreamPosition& found) {
    return found.epoch > book.position.epoch && found.last_bseq > book.position.last_bseq;
}

std::string redis_ahead(RedisLink& redis, const BucketBook& book, const StreamPosition& found) {
    // A rebuild that died before its COMMIT leaves a newer epoch too, but at the book's own position: nothing could
    // write to the bucket since.
    if (went_on_after_rebuild(book, found) &&
        !stream_unbroken(redis, book.bucket, book.position.last_bseq, found.last_bseq)) {
        return "rebuild " + std::to_string(found.epoch);
    }
    if (found.epoch < 0) return {};  // it has nothing, and 400 000 questions are a second of a rebuild
    std::string ahead = compare_config(redis, book.accounts, book.keys).ahead;
    if (!ahead.empty()) return ahead;
    const std::vector<WalletInRedis> wallets = wallets_in_redis(redis, book.balances);
    std::size_t i = 0;
    for (const auto& [account, balance] : book.balances) {
        if (wallets[i++].opn > balance.last_recorded_opn)
            return "money operations of account " + std::to_string(account);
    }
    return {};
}

bool stream_unbroken(RedisLink& redis, Bucket bucket, std::int64_t last_bseq, std::int64_t bseq) {
    const std::string stream = bucket_key(bucket, "events");
    const std::string count = std::to_string(kEventsPerQuery);
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

}  // namespace lumen::admind

#include "admind/ledger/bucket_decision.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <set>
#include <vector>

#include "admind/ledger/book_batch.h"
#include "admind/ledger/bucket_ready.h"
#include "admind/ledger/bucket_rebuild.h"
#include "admind/ledger/config_sync.h"
#include "admind/ledger/late_charges.h"
#include "admind/ledger/stream_entry.h"
#include "admind/stores/pg_arrays.h"

namespace lumen::admind {

namespace {

constexpr const char* kWholeStream =
    "100000000";  ///< a bucket's undrained events; the stream itself is bounded by memory

std::int64_t now_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

RedisReply read_undrained(RedisLink& redis, Bucket bucket, std::int64_t last_bseq) {
    return redis.command(
        {"XRANGE", bucket_key(bucket, "events"), stream_id(last_bseq + 1), "+", "COUNT", kWholeStream});
}

/// The first undrained event of an account that does not follow from the book's balance.
std::string find_break(const BucketBook& book, const redisReply& entries) {
    std::set<AccountId> seen;
    for (std::size_t i = 0; i < entries.elements; ++i) {
        const LedgerEvent event = entry_of(book.bucket, *entries.element[i]).event;
        if (event.kind == EventKind::late || !seen.insert(event.account).second) continue;
        const auto balance = book.balances.find(event.account);
        const std::string name = "account " + std::to_string(event.account);
        if (balance == book.balances.end()) return "the book does not know " + name;
        if (event.seq != balance->second.seq + 1 ||
            event.balance_after.nano() != balance->second.balance.nano() + event.delta.nano()) {
            return "the undrained events of " + name + " do not follow from its balance in the book";
        }
    }
    return {};
}

/// Versions above those of Redis, so that the book's configuration counts again; but what was revoked or deactivated
/// stays so, whichever store is right (I9). How many that were.
std::size_t outgrow_redis(pqxx::transaction_base& transaction, RedisLink& redis, const BucketBook& book,
                          const std::string& actor) {
    std::size_t shut = 0;
    for (const BookAccount& account : book.accounts) {
        redis.append({"HMGET", account_key(account.config.account), "ver", "st"});
    }
    for (const BookKey& key : book.keys) {
        redis.append({"HMGET", api_key_key(key.config.account, key.config.key), "ver", "st"});
    }
    for (const BookAccount& account : book.accounts) {
        const RedisReply reply = redis.next();
        const std::int64_t stored = parse_nano(reply_text(reply->element[0])).value_or(NanoCoins()).nano();
        if (stored <= version_in_redis(account.config.version)) continue;
        transaction.exec_params("update accounts set cfg_ver = $2 where id = $1", account.config.account,
                                stored / 2 + 1);
        if (reply_text(reply->element[1]) == "2" && account.config.active) {
            // Deactivated after the backup (I9); an administrator may activate it again.
            set_account_active(transaction, account.config.account, false);
            transaction.exec_params("update users set active = false where account_id = $1", account.config.account);
            ++shut;
        }
    }
    for (const BookKey& key : book.keys) {
        const RedisReply reply = redis.next();
        const auto version = parse_nano(reply_text(reply->element[0]));
        const std::int64_t stored = version.value_or(NanoCoins()).nano();
        if (stored > key.config.version) {
            transaction.exec_params("update api_keys set ver = $2 where id = $1", key.config.key, stored + 1);
        }
        if (reply_text(reply->element[1]) == "2" && key.config.state != KeyState::revoked) {
            if (mark_key_revoked(transaction, key.config.account, key.config.key, actor)) ++shut;
        }
    }
    return shut;
}

/// Writes what Redis knows of a bucket, and the book does not, as events that follow from the book. Their numbers are
/// new: those of the lost ones in between are nobody's.
class TakeOver {
 public:
    TakeOver(pqxx::transaction_base& transaction, const BucketBook& book, const std::string& actor)
        : transaction_(transaction), bucket_(book.bucket), bseq_(book.position.last_bseq), actor_(actor) {
        for (const auto& [account, balance] : book.balances) {
            running_[account] = {balance.balance.nano(), balance.seq, balance.opn, balance.last_recorded_opn,
                                 balance.last_refill_hour};
        }
    }

    void book_all(const BucketBook& book, const std::vector<WalletInRedis>& wallets, const redisReply& entries,
                  DecisionOutcome& outcome) {
        std::vector<LedgerEvent> events;
        std::vector<std::string> corrections;
        for (std::size_t i = 0; i < entries.elements; ++i) {
            events.push_back(entry_of(bucket_, *entries.element[i]).event);
            if (events.back().kind == EventKind::correction) corrections.emplace_back(events.back().request);
            if (events.back().opn > 0) surviving_.insert({events.back().account, events.back().opn});
        }
        EventBatch batch;
        batch.know_reaped(read_reaped(transaction_, corrections));
        batch_ = &batch;
        // New operations get numbers that neither store has used.
        std::size_t i = 0;
        for (const auto& [account, balance] : book.balances) {
            Running& running = running_[account];
            running.highest_opn = std::max(running.highest_opn, wallets[i].opn);
            running.last_hour = std::max(running.last_hour, wallets[i].last_refill_hour);
            ++i;
        }
        i = 0;
        for (const auto& [account, balance] : book.balances) {
            book_operations(account, balance.opn, wallets[i++].opn, Sent::yes);
        }
        for (const LedgerEvent& event : events) {
            const auto running = running_.find(event.account);
            if (running == running_.end()) continue;  // made after the backup: its events are in the file
            if (event.kind != EventKind::late) bridge(event.account, event.balance_after.nano() - event.delta.nano());
            add(event);
            ++outcome.events_booked;
        }
        i = 0;
        for (const auto& [account, balance] : book.balances) {
            const WalletInRedis& wallet = wallets[i++];
            if (wallet.known) bridge(account, wallet.balance.nano());
            book_operations(account, std::max(balance.opn, wallet.opn), INT64_MAX, Sent::no);
        }
        book_batch(transaction_, batch);
        resolve_lates(transaction_, batch.lates());
        outcome.adjusted = adjusted_.size();
        outcome.adjusted_by = NanoCoins(adjusted_by_);
        record_positions();
    }

 private:
    struct Running {
        std::int64_t balance = 0;
        std::int64_t seq = 0;
        std::int64_t opn = 0;
        std::int64_t highest_opn = 0;
        std::int64_t last_hour = 0;
    };
    enum class Sent { yes, no };

    void add(LedgerEvent event) {
        Running& running = running_.at(event.account);
        if (event.kind != EventKind::late) {
            running.balance += event.delta.nano();
            event.balance_after = NanoCoins(running.balance);
            event.seq = ++running.seq;
        }
        running.highest_opn = std::max(running.highest_opn, event.opn);
        batch_->add(bucket_, ++bseq_, event);
    }

    /// An event of the book's own making.
    void add_made(AccountId account, EventKind kind, std::int64_t delta, std::int64_t opn, const std::string& request) {
        LedgerEvent event;
        event.kind = kind;
        event.account = account;
        event.delta = NanoCoins(delta);
        event.last_refill_hour = running_.at(account).last_hour;
        event.at_ms = now_ms();
        event.opn = opn;
        event.request = request;
        event.blob = "-";
        add(event);
    }

    /// Operations the book recorded and has no event of: Redis did them, and the event is lost, or never saw them.
    void book_operations(AccountId account, std::int64_t above, std::int64_t up_to, Sent sent) {
        for (const auto& row : transaction_.exec_params(
                 "select opn, kind, amount, coalesce(request_id::text, ''), cost, coalesce(key_id, 0), note from "
                 "money_ops "
                 "where account_id = $1 and opn > $2 and opn <= $3 and not coalesce(idem_key, '') like 'rebuild %' "
                 "order by opn",
                 account, above, up_to)) {
            const auto opn = row[0].as<std::int64_t>();
            if (surviving_.count({account, opn}) > 0) continue;
            const auto kind = static_cast<MoneyOpKind>(row[1].as<int>() - 1);
            const auto amount = row[2].as<std::int64_t>();
            if (kind == MoneyOpKind::add) add_made(account, EventKind::grant, amount, opn, "");
            // What a lost reset moved is not known any more: the difference is in the row that bridges it.
            if (kind == MoneyOpKind::set) {
                add_made(account, EventKind::adjust, sent == Sent::no ? amount - running_.at(account).balance : 0, opn,
                         "");
            }
            if (kind == MoneyOpKind::late) add_correction(account, row, opn, amount);
        }
    }

    void add_correction(AccountId account, const pqxx::row& row, std::int64_t opn, std::int64_t amount) {
        const auto request = row[3].as<std::string>();
        const auto blob = row[6].as<std::string>();
        LedgerEvent event;
        event.kind = EventKind::correction;
        event.account = account;
        event.key = row[5].as<KeyId>();
        event.delta = NanoCoins(amount);
        event.cost = NanoCoins(row[4].as<std::int64_t>());
        event.last_refill_hour = running_.at(account).last_hour;
        event.at_ms = now_ms();
        event.opn = opn;
        event.request = request;
        event.blob = blob;
        add(event);
    }

    /// A balance that no event explains becomes an operation of whoever decided, with a row like any other.
    void bridge(AccountId account, std::int64_t balance) {
        Running& running = running_.at(account);
        const std::int64_t delta = balance - running.balance;
        if (delta == 0) return;
        const std::int64_t opn = ++running.highest_opn;
        transaction_.exec_params(
            "insert into money_ops (account_id, opn, kind, amount, idem_key, actor, reason) "
            "values ($1, $2, 2, $3, $4, $5, 'rebuild --from redis: events between the backup and now are lost')",
            account, opn, balance, "rebuild " + std::to_string(account) + " " + std::to_string(opn), actor_);
        add_made(account, EventKind::adjust, delta, opn, "");
        adjusted_.insert(account);
        adjusted_by_ += std::llabs(delta);
    }

    void record_positions() {
        transaction_.exec_params(
            "update account_balances b set opn = greatest(b.opn, x.opn), "
            "last_refill_hour = greatest(b.last_refill_hour, x.hour) "
            "from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as x (account_id, opn, hour) "
            "where b.account_id = x.account_id",
            pg_integers(running_, [](const auto& entry) { return entry.first; }),
            pg_integers(running_, [](const auto& entry) { return entry.second.highest_opn; }),
            pg_integers(running_, [](const auto& entry) { return entry.second.last_hour; }));
        transaction_.exec_params(
            "update account_ops o set next_opn = greatest(o.next_opn, x.opn + 1) "
            "from unnest($1::bigint[], $2::bigint[]) as x (account_id, opn) where o.account_id = x.account_id",
            pg_integers(running_, [](const auto& entry) { return entry.first; }),
            pg_integers(running_, [](const auto& entry) { return entry.second.highest_opn; }));
        transaction_.exec_params("update stream_positions set last_bseq = $2 where bucket = $1",
                                 static_cast<int>(bucket_), bseq_);
    }

    pqxx::transaction_base& transaction_;
    const Bucket bucket_;
    std::int64_t bseq_;
    const std::string& actor_;
    std::map<AccountId, Running> running_;
    std::set<std::pair<AccountId, std::int64_t>> surviving_;
    std::set<AccountId> adjusted_;
    std::int64_t adjusted_by_ = 0;
    EventBatch* batch_ = nullptr;
};

}  // namespace

std::string find_contradiction(PgPool& postgres, RedisLink& redis, Bucket bucket) {
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    BucketBook book = read_bucket_book(transaction, bucket);
    const StreamPosition found = position_in_redis(redis, bucket);
    if (!redis_ahead(redis, book, found).empty()) {
        // What was changed between the two readings looks ahead once, a book put back always.
        book = read_bucket_book(transaction, bucket);
        const std::string ahead = redis_ahead(redis, book, found);
        if (!ahead.empty()) return "redis is ahead of the book in " + ahead;
    }
    const bool lost = found.epoch < book.position.epoch || found.last_bseq < book.position.last_bseq;
    if (lost) return {};  // an ordinary rebuild
    if (!stream_unbroken(redis, bucket, book.position.last_bseq, found.last_bseq)) {
        return "hole in the stream after bseq=" + std::to_string(book.position.last_bseq);
    }
    return find_break(book, *read_undrained(redis, bucket, book.position.last_bseq));
}

DecisionOutcome decide_bucket(PgPool& postgres, RedisLink& redis, Bucket bucket, TrustedStore trusted,
                              const std::string& spool_directory, const std::string& actor) {
    DecisionOutcome outcome;
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    BucketBook book = read_bucket_book(transaction, bucket);
    const std::string replication_id = redis.master_replication_id(bucket);
    if (replication_id.empty()) {
        outcome.failure = "the server is a replica";
        return outcome;
    }
    const std::string nonce = new_nonce();
    BeginRebuildCall begin(bucket, nonce);
    redis.call(begin);  // from here on nothing moves money in the bucket
    StreamPosition found = position_in_redis(redis, bucket);
    outcome.kept_shut = outgrow_redis(transaction, redis, book, actor);
    const std::int64_t epoch = std::max(book.position.epoch, found.epoch) + 1;
    // A rebuild saves the events of another epoch by itself.
    if (trusted == TrustedStore::redis || found.epoch == book.position.epoch) {
        outcome.events_saved = save_events(redis, bucket, spool_directory, nonce);
    }
    if (trusted == TrustedStore::redis) {
        const std::vector<WalletInRedis> wallets = wallets_in_redis(redis, book.balances);
        const RedisReply entries = read_undrained(redis, bucket, book.position.last_bseq);
        TakeOver(transaction, book, actor).book_all(book, wallets, *entries, outcome);
    }
    book = read_bucket_book(transaction, bucket);
    // What Redis holds then is what still runs.
    if (trusted == TrustedStore::redis) found = book.position;
    const RebuildResult rebuilt = rebuild_bucket(transaction, redis, book, found, epoch, nonce, spool_directory);
    outcome.events_saved += rebuilt.foreign_events;
    if (rebuilt.done) {
        outcome.left_to_another = put_into_service(transaction, redis, book, epoch, nonce, replication_id);
    } else {
        outcome.failure = "another reconciliation began";
    }
    return outcome;
}

}  // namespace lumen::admind

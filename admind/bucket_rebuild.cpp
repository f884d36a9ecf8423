#include "admind/bucket_rebuild.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <unordered_set>

#include "admind/config_sync.h"
#include "admind/pg_arrays.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kEventsPerRead = 10'000;
constexpr std::size_t kCallsPerPipeline = 1'000;

struct KeptHolds {
    struct Sums {
        std::int64_t amount = 0;
        std::int64_t count = 0;
    };
    std::map<AccountId, Sums> accounts;
    std::map<KeyId, Sums> keys;        ///< amount: of those counted under a cap
    std::vector<std::string> dropped;  ///< request ids
    std::size_t kept = 0;
};

/// Drops holds whose request the book has rows of, wherever in the stream: it was settled or reaped, in this Redis or
/// in one whose newest writes were lost since. The others still run.
KeptHolds sort_holds(pqxx::transaction_base& transaction, RedisLink& redis, const BucketBook& book) {
    KeptHolds result;
    const RedisReply pairs = redis.command({"HGETALL", bucket_key(book.bucket, "holds")});
    std::vector<std::string> requests;
    for (std::size_t i = 0; i + 1 < pairs->elements; i += 2) {
        if (reply_text(pairs->element[i]).size() == sizeof(RequestId::text)) {
            requests.emplace_back(reply_text(pairs->element[i]));
        }
    }
    std::unordered_set<std::string> settled;
    if (!requests.empty()) {
        for (const auto& row : transaction.exec_params("select distinct request_id::text from ledger_events "
                                                       "where request_id = any($1::uuid[])",
                                                       pg_array(requests))) {
            settled.insert(row[0].as<std::string>());
        }
    }
    for (std::size_t i = 0; i + 1 < pairs->elements; i += 2) {
        const std::string request(reply_text(pairs->element[i]));
        const auto hold = parse_hold(reply_text(pairs->element[i + 1]));
        // An account that the book does not know has nothing that a hold could be counted in.
        if (!hold || settled.count(request) > 0 || book.balances.count(hold->account) == 0) {
            result.dropped.push_back(request);
            continue;
        }
        ++result.kept;
        KeptHolds::Sums& account = result.accounts[hold->account];
        account.amount += hold->amount.nano();
        ++account.count;
        KeptHolds::Sums& key = result.keys[hold->key];
        if (hold->counted) key.amount += hold->amount.nano();
        ++key.count;
    }
    return result;
}

/// What each capped key has spent in the window that runs now.
std::map<KeyId, std::int64_t> read_cap_use(pqxx::transaction_base& transaction, Bucket bucket) {
    std::map<KeyId, std::int64_t> used;
    for (const auto& row : transaction.exec_params(
             "select k.id, coalesce(sum(e.cost), 0)::bigint "
             "from api_keys k join accounts a on a.id = k.account_id "
             "cross join lateral (select case when k.cap_len is null then k.cap_start else k.cap_start + k.cap_len * "
             "greatest(0, floor(extract(epoch from now() - k.cap_start) / extract(epoch from k.cap_len))) end as "
             "begin) w "
             "left join ledger_events e on e.account_id = k.account_id and e.key_id = k.id and e.at >= w.begin "
             "and e.kind in (1, 5, 6) "
             "where a.bucket = $1 and k.cap is not null and k.state <> 2 group by k.id",
             static_cast<int>(bucket))) {
        used[row[0].as<KeyId>()] = std::max<std::int64_t>(0, row[1].as<std::int64_t>());
    }
    return used;
}

/// Reads the replies of a pipeline; false when that rebuild does not run any more.
bool all_accepted(RedisLink& redis, const std::vector<Script>& calls) {
    bool accepted = true;
    for (Script script : calls) {
        const RedisReply reply = redis.next();
        if (reply->type == REDIS_REPLY_ERROR) throw RedisError(reply->str);
        const Reply answer = parse_reply(script, reply_text(reply.get())).reply;
        if (answer == Reply::range) {
            redis.drop();
            throw std::runtime_error("redis refuses values of the book: " + std::string(script_name(script)));
        }
        accepted = accepted && answer == Reply::ok;
    }
    return accepted;
}

bool load_accounts(const BucketBook& book, RedisLink& redis, const std::string& nonce, const KeptHolds& holds) {
    std::vector<Script> calls;
    bool accepted = true;
    const auto flush = [&] {
        accepted = all_accepted(redis, calls) && accepted;
        calls.clear();
    };
    for (const auto& [account, balance] : book.balances) {
        LoadAccountArguments arguments;
        arguments.account = account;
        arguments.balance = balance.balance;
        arguments.seq = balance.seq;
        arguments.opn = balance.opn;
        arguments.last_refill_hour = balance.last_refill_hour;
        const auto held = holds.accounts.find(account);
        if (held != holds.accounts.end()) {
            arguments.held = NanoCoins(held->second.amount);
            arguments.holds = held->second.count;
        }
        LoadAccountCall call(nonce, arguments);
        redis.append(call);
        calls.push_back(Script::load_account);
        if (calls.size() >= kCallsPerPipeline) flush();
    }
    flush();
    return accepted;
}

bool load_keys(const BucketBook& book, RedisLink& redis, const std::string& nonce, const KeptHolds& holds,
               const std::map<KeyId, std::int64_t>& cap_use) {
    std::vector<Script> calls;
    bool accepted = true;
    const auto flush = [&] {
        accepted = all_accepted(redis, calls) && accepted;
        calls.clear();
    };
    for (const BookKey& key : book.keys) {
        KeyCounters counters;
        const auto used = cap_use.find(key.config.key);
        if (used != cap_use.end()) counters.cap_used = NanoCoins(used->second);
        const auto held = holds.keys.find(key.config.key);
        if (held != holds.keys.end()) {
            counters.cap_held = NanoCoins(held->second.amount);
            counters.holds = held->second.count;
        }
        SetKeyCall call(key.config, nonce, counters);
        redis.append(call);
        calls.push_back(Script::set_key);
        if (calls.size() >= kCallsPerPipeline) flush();
    }
    flush();
    return accepted;
}

/// The writes that no script does, all or none, and none if another reconciliation began meanwhile.
bool reset_bucket(RedisLink& redis, Bucket bucket, const StreamPosition& next, const std::string& nonce,
                  const std::vector<std::string>& dropped_holds) {
    const std::string meta = bucket_key(bucket, "meta");
    const std::string holds = bucket_key(bucket, "holds");
    const std::string bseq = std::to_string(next.last_bseq);
    const std::string epoch = std::to_string(next.epoch);
    redis.command({"WATCH", meta});
    if (reply_text(redis.command({"HGET", meta, "nonce"}).get()) != nonce) {
        redis.command({"UNWATCH"});
        return false;
    }
    redis.append({"MULTI"});
    redis.append({"DEL", bucket_key(bucket, "events"), bucket_key(bucket, "done0"), bucket_key(bucket, "done1")});
    for (const std::string& request : dropped_holds) redis.append({"HDEL", holds, request});
    redis.append({"HSET", meta, "bseq", bseq, "epoch", epoch});
    redis.append({"EXEC"});
    while (redis.outstanding() > 1) redis.next();
    const RedisReply done = redis.next();
    if (done->type == REDIS_REPLY_ERROR) throw RedisError(done->str);
    return done->type == REDIS_REPLY_ARRAY;
}

}  // namespace

std::size_t save_events(RedisLink& redis, Bucket bucket, const std::string& spool_directory, const std::string& nonce) {
    const std::string stream = bucket_key(bucket, "events");
    const std::string count = std::to_string(kEventsPerRead);
    std::string text;
    std::size_t events = 0;
    for (std::string from = "-";;) {
        const RedisReply entries = redis.command({"XRANGE", stream, from, "+", "COUNT", count});
        for (std::size_t i = 0; i < entries->elements; ++i) {
            const redisReply& fields = *entries->element[i]->element[1];
            from = "(" + std::string(reply_text(entries->element[i]->element[0]));
            text += from.substr(1);
            for (std::size_t j = 0; j < fields.elements; ++j) text.append(" ").append(reply_text(fields.element[j]));
            text += '\n';
            ++events;
        }
        if (entries->elements < kEventsPerRead) break;
    }
    if (events == 0) return 0;
    const std::string path = spool_directory + "/foreign-events-" + std::to_string(bucket) + "-" + nonce;
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool saved = file >= 0;
    for (std::size_t written = 0; saved && written < text.size();) {
        const ssize_t n = ::write(file, text.data() + written, text.size() - written);
        saved = n > 0;
        if (saved) written += static_cast<std::size_t>(n);
    }
    saved = saved && ::fsync(file) == 0;
    if (file >= 0) ::close(file);
    if (!saved) throw std::runtime_error("cannot save foreign events to " + path);
    return events;
}

RebuildResult rebuild_bucket(pqxx::transaction_base& transaction, RedisLink& redis, const BucketBook& book,
                             const StreamPosition& redis_position, std::int64_t next_epoch, const std::string& nonce,
                             const std::string& spool_directory) {
    RebuildResult result;
    const bool other_epoch = redis_position.epoch != book.position.epoch;
    // Events of an epoch that the book does not know are nobody's to book or to forget.
    if (other_epoch) result.foreign_events = save_events(redis, book.bucket, spool_directory, nonce);
    const KeptHolds holds = sort_holds(transaction, redis, book);
    result.holds_kept = holds.kept;
    result.holds_dropped = holds.dropped.size();
    // The position comes last: until then a crash leaves Redis as one that obviously lost something.
    if (!load_accounts(book, redis, nonce, holds)) return result;
    if (!load_keys(book, redis, nonce, holds, read_cap_use(transaction, book.bucket))) return result;
    tell_accounts_of_rebuild(redis, book.accounts);
    result.done = reset_bucket(redis, book.bucket, {book.position.last_bseq, next_epoch, {}}, nonce, holds.dropped);
    return result;
}

}  // namespace lumen::admind

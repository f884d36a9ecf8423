#include "admind/ledger/bucket_rebuild.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <unordered_set>
#include <utility>

#include "admind/ledger/config_sync.h"
#include "admind/stores/pg_arrays.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kEventsPerRead = 10'000;
constexpr std::size_t kCallsPerPipeline = 1'000;
constexpr std::size_t kNewCallsPerPipeline = 32;  ///< each of several accounts or keys

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

LoadAccountArguments money_of(AccountId account, const BookBalance& balance, const KeptHolds& holds) {
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
    return arguments;
}

KeyCounters counters_of(KeyId key, const KeptHolds& holds, const std::map<KeyId, std::int64_t>& cap_use) {
    KeyCounters counters;
    const auto used = cap_use.find(key);
    if (used != cap_use.end()) counters.cap_used = NanoCoins(used->second);
    const auto held = holds.keys.find(key);
    if (held != holds.keys.end()) {
        counters.cap_held = NanoCoins(held->second.amount);
        counters.holds = held->second.count;
    }
    return counters;
}

/// Loads what Redis has nothing of, as many in a call as fit, and finds out what it has.
class NewLoader {
 public:
    NewLoader(RedisLink& redis, Bucket bucket, const std::string& nonce)
        : redis_(redis), bucket_(bucket), nonce_(nonce) {}

    /// Of what is added, by the order of adding: is it for the calls that compare versions?
    void add(StoredHash hash) {
        const std::size_t texts = LoadNewCall::texts_of(hash);
        const std::size_t bytes = LoadNewCall::bytes_of(hash);
        const bool fits_alone = texts <= LoadNewCall::kMostTexts && bytes <= LoadNewCall::kMostBytes;
        if (texts_ + texts > LoadNewCall::kMostTexts || bytes_ + bytes > LoadNewCall::kMostBytes) send();
        left_.push_back(!fits_alone);
        if (!fits_alone) return;
        texts_ += texts;
        bytes_ += bytes;
        hashes_.push_back(std::move(hash));
        at_.push_back(left_.size() - 1);
    }
    /// False when that rebuild does not run any more.
    bool finish() {
        send();
        take_replies();
        return runs_;
    }
    bool left(std::size_t index) const { return left_[index]; }

 private:
    void send() {
        texts_ = bytes_ = 0;
        if (hashes_.empty()) return;
        LoadNewCall call(bucket_, nonce_, hashes_);
        redis_.append(call);
        sent_.insert(sent_.end(), at_.begin(), at_.end());
        hashes_.clear();
        at_.clear();
        if (redis_.outstanding() >= kNewCallsPerPipeline) take_replies();
    }
    void take_replies() {
        std::size_t i = 0;
        while (redis_.outstanding() > 0) {
            const RedisReply reply = redis_.next();
            if (reply->type == REDIS_REPLY_ERROR) throw RedisError(reply->str);
            std::string_view lines = reply_text(reply.get());
            while (!lines.empty() && i < sent_.size()) {
                const Reply answer = parse_reply(Script::load_new, next_reply_line(lines)).reply;
                left_[sent_[i++]] = answer != Reply::ok;
                runs_ = runs_ && answer != Reply::nonce;
            }
        }
        sent_.clear();
    }

    RedisLink& redis_;
    Bucket bucket_;
    const std::string& nonce_;
    std::vector<StoredHash> hashes_;
    std::vector<std::size_t> at_;    ///< of hashes_, in left_
    std::vector<std::size_t> sent_;  ///< of those whose replies are still to come
    std::vector<bool> left_;
    std::size_t texts_ = 0;
    std::size_t bytes_ = 0;
    bool runs_ = true;
};

/// What is left for the calls that compare versions: accounts and keys that Redis knows something of. None: another
/// reconciliation began.
std::optional<BucketBook> load_new(const BucketBook& book, RedisLink& redis, const std::string& nonce,
                                   const KeptHolds& holds, const std::map<KeyId, std::int64_t>& cap_use) {
    NewLoader loader(redis, book.bucket, nonce);
    for (const BookAccount& account : book.accounts) {
        const AccountId id = account.config.account;
        const auto balance = book.balances.find(id);
        loader.add(
            stored_account(config_in_redis(account.config), account.consents,
                           money_of(id, balance != book.balances.end() ? balance->second : BookBalance{}, holds)));
    }
    for (const BookKey& key : book.keys) {
        loader.add(stored_key(key.config, counters_of(key.config.key, holds, cap_use)));
    }
    if (!loader.finish()) return std::nullopt;
    BucketBook rest;
    rest.bucket = book.bucket;
    rest.position = book.position;
    std::size_t i = 0;
    for (const BookAccount& account : book.accounts) {
        if (!loader.left(i++)) continue;
        rest.accounts.push_back(account);
        const auto balance = book.balances.find(account.config.account);
        if (balance != book.balances.end()) rest.balances.insert(*balance);
    }
    for (const BookKey& key : book.keys) {
        if (loader.left(i++)) rest.keys.push_back(key);
    }
    return rest;
}

bool load_accounts(const BucketBook& book, RedisLink& redis, const std::string& nonce, const KeptHolds& holds) {
    std::vector<Script> calls;
    bool accepted = true;
    const auto flush = [&] {
        accepted = all_accepted(redis, calls) && accepted;
        calls.clear();
    };
    for (const auto& [account, balance] : book.balances) {
        LoadAccountCall call(nonce, money_of(account, balance, holds));
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
        SetKeyCall call(key.config, nonce, counters_of(key.config.key, holds, cap_use));
        redis.append(call);
        calls.push_back(Script::set_key);
        if (calls.size() >= kCallsPerPipeline) flush();
    }
    flush();
    return accepted;
}

/// What is left of a bucket that begins anew, in one piece, and nothing if another reconciliation began meanwhile.
constexpr std::string_view kResetScript = R"lua(#!lua flags=allow-oom
-- KEYS  1 {b}:meta  2 {b}:events  3 {b}:done0  4 {b}:done1  5 {b}:holds
-- ARGV  1 nonce  2 bseq  3 epoch  4 and on: holds that are dropped
if redis.call('HGET', KEYS[1], 'nonce') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
for i = 4, #ARGV do redis.call('HDEL', KEYS[5], ARGV[i]) end
redis.call('HSET', KEYS[1], 'bseq', ARGV[2], 'epoch', ARGV[3])
return 1
)lua";

bool reset_bucket(RedisLink& redis, Bucket bucket, const StreamPosition& next, const std::string& nonce,
                  const std::vector<std::string>& dropped_holds) {
    std::vector<std::string> keys;
    for (const char* name : {"meta", "events", "done0", "done1", "holds"}) keys.push_back(bucket_key(bucket, name));
    const std::string bseq = std::to_string(next.last_bseq);
    const std::string epoch = std::to_string(next.epoch);
    std::vector<std::string_view> command{"EVAL", kResetScript, "5"};
    command.insert(command.end(), keys.begin(), keys.end());
    command.insert(command.end(), {nonce, bseq, epoch});
    command.insert(command.end(), dropped_holds.begin(), dropped_holds.end());
    return redis.command(command)->integer == 1;
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
    const std::map<KeyId, std::int64_t> cap_use = read_cap_use(transaction, book.bucket);
    // The position comes last: until then a crash leaves Redis as one that obviously lost something.
    const std::optional<BucketBook> rest =
        redis_position.epoch < 0 ? load_new(book, redis, nonce, holds, cap_use) : book;
    if (!rest || !load_accounts(*rest, redis, nonce, holds)) return result;
    if (!load_keys(*rest, redis, nonce, holds, cap_use)) return result;
    tell_accounts_of_rebuild(redis, rest->accounts);
    result.done = reset_bucket(redis, book.bucket, {book.position.last_bseq, next_epoch, {}}, nonce, holds.dropped);
    return result;
}

}  // namespace lumen::admind

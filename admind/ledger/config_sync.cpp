#include "admind/ledger/config_sync.h"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "lumen_core/account_bucket.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLookupsPerCommand = 500;
constexpr auto kReplicaWait = std::chrono::milliseconds(1000);

std::int64_t number_or(std::string_view text, std::int64_t otherwise) {
    std::int64_t value = otherwise;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

std::string_view element_text(const redisReply& array, std::size_t index) {
    return array.type == REDIS_REPLY_ARRAY && index < array.elements ? reply_text(array.element[index])
                                                                     : std::string_view();
}

/// A RANGE here is a bug or a damaged book: it must not pass for done.
void expect_accepted(Script script, const RedisReply& reply, const char* what, std::int64_t id) {
    if (reply->type == REDIS_REPLY_ERROR) throw RedisError(reply->str);
    const Reply answer = parse_reply(script, reply_text(reply.get())).reply;
    if (answer != Reply::ok && answer != Reply::stale) {
        throw std::runtime_error(std::string("redis refuses the configuration of ") + what + " " + std::to_string(id) +
                                 ": " + std::string(reply_text(reply.get())));
    }
}

/// Appends the calls for one account; how many replies they will have. Consents are merged whatever the version, so all
/// but the last call's go ahead under version 0: a cut in between leaves an old version, which is told again.
int append_account(RedisLink& redis, const AccountConfig& config,
                   const std::vector<std::pair<ModelId, std::int32_t>>& consents) {
    int calls = 0;
    std::size_t sent = 0;
    constexpr std::size_t kPerCall = SetAccountCall::kMaxConsentsPerCall;
    while (consents.size() - sent > kPerCall) {
        AccountConfig early = config;
        early.version = 0;
        SetAccountCall call(early);
        for (std::size_t i = 0; i < kPerCall; ++i, ++sent)
            call.add_consent(consents[sent].first, consents[sent].second);
        redis.append(call);
        ++calls;
    }
    SetAccountCall call(config);
    for (; sent < consents.size(); ++sent) call.add_consent(consents[sent].first, consents[sent].second);
    redis.append(call);
    return calls + 1;
}

/// What Redis has of an account's money part, and whether its bucket can credit hours.
struct AccountInRedis {
    bool known = false;
    bool ready = false;
    std::optional<NanoCoins> limit;
    NanoCoins rate;
    bool unlimited = false;
};

AccountInRedis read_account_in_redis(RedisLink& redis, AccountId account) {
    const std::string meta = bucket_key(account_bucket(account), "meta");
    const std::string hash = account_key(account);
    redis.append({"HMGET", hash, "ver", "lim", "rate", "unl"});
    redis.append({"HGET", meta, "ready"});
    redis.at(account_bucket(account)).append({"INFO", "replication"});
    const RedisReply fields = redis.next();
    const RedisReply token = redis.next();
    const RedisReply info = redis.next();
    AccountInRedis found;
    found.known = !element_text(*fields, 0).empty();
    found.limit = parse_nano(element_text(*fields, 1));
    found.rate = parse_nano(element_text(*fields, 2)).value_or(NanoCoins());
    found.unlimited = element_text(*fields, 3) == "1";
    const std::string id = master_replication_id_of(reply_text(info.get()));
    found.ready = !id.empty() && reply_text(token.get()).substr(0, id.size()) == id;
    return found;
}

}  // namespace

AccountConfig config_in_redis(const AccountConfig& config) {
    AccountConfig wire = config;
    wire.version = version_in_redis(config.version);
    return wire;
}

Told tell_account(RedisLink& redis, const BookAccount& account) {
    AccountConfig config = config_in_redis(account.config);
    const AccountInRedis found = read_account_in_redis(redis, config.account);
    const bool same_money =
        found.limit == config.limit && found.rate == config.rate && found.unlimited == config.unlimited;
    Told told = Told::all;
    if (found.known && !found.ready && !same_money) {
        told = Told::all_but_money;
        config.version -= 1;
        config.limit = found.limit;
        config.rate = found.rate;
        config.unlimited = found.unlimited;
    }
    for (int left = append_account(redis, config, account.consents); left > 0; --left) {
        expect_accepted(Script::set_account, redis.next(), "account", config.account);
    }
    return told;
}

void tell_key(RedisLink& redis, const BookKey& key) {
    SetKeyCall call(key.config);
    redis.append(call);
    const std::string entry = lookup_entry(key.config.account, key.config.key);
    std::string lookups;
    if (key.hash) {
        lookups = bucket_key(lookup_bucket(*key.hash), "kh");
        redis.append({"HSET", lookups, key_hash_bytes(*key.hash), entry});
    }
    expect_accepted(Script::set_key, redis.next(), "key", key.config.key);
    if (key.hash) {
        const RedisReply reply = redis.next();
        if (reply->type == REDIS_REPLY_ERROR) throw RedisError(reply->str);
    }
}

void tell_accounts_of_rebuild(RedisLink& redis, const std::vector<BookAccount>& accounts) {
    std::vector<AccountId> replies;
    for (const BookAccount& account : accounts) {
        const int calls = append_account(redis, config_in_redis(account.config), account.consents);
        replies.insert(replies.end(), static_cast<std::size_t>(calls), account.config.account);
    }
    for (AccountId account : replies) expect_accepted(Script::set_account, redis.next(), "account", account);
}

ConfigDifferences compare_config(RedisLink& redis, const std::vector<BookAccount>& accounts,
                                 const std::vector<BookKey>& keys) {
    for (const BookAccount& account : accounts) redis.append({"HGET", account_key(account.config.account), "ver"});
    for (const BookKey& key : keys) redis.append({"HGET", api_key_key(key.config.account, key.config.key), "ver"});
    ConfigDifferences differences;
    for (const BookAccount& account : accounts) {
        const RedisReply reply = redis.next();
        const std::int64_t stored = number_or(reply_text(reply.get()), 0);
        const std::int64_t wanted = version_in_redis(account.config.version);
        if (stored < wanted) differences.accounts.push_back(&account);
        if (stored > wanted) differences.ahead = "account " + std::to_string(account.config.account);
    }
    for (const BookKey& key : keys) {
        const RedisReply reply = redis.next();
        const std::int64_t stored = number_or(reply_text(reply.get()), 0);
        if (stored < key.config.version) differences.keys.push_back(&key);
        if (stored > key.config.version) differences.ahead = "key " + std::to_string(key.config.key);
    }
    return differences;
}

void load_lookups(RedisLink& redis, Bucket lookup_bucket, const std::vector<BookLookup>& lookups) {
    const std::string hash = bucket_key(lookup_bucket, "kh");
    for (std::size_t first = 0; first < lookups.size(); first += kLookupsPerCommand) {
        const std::size_t end = std::min(lookups.size(), first + kLookupsPerCommand);
        std::vector<std::string> entries;
        entries.reserve(end - first);
        std::vector<std::string_view> command{"HSET", hash};
        for (std::size_t i = first; i < end; ++i) {
            entries.push_back(lookup_entry(lookups[i].account, lookups[i].key));
            command.push_back(key_hash_bytes(lookups[i].hash));
            command.push_back(entries.back());
        }
        redis.command(command);
    }
}

bool replicated(RedisLink& redis, Bucket bucket) {
    const RedisReply info = redis.at(bucket).command({"INFO", "replication"});
    if (reply_text(info.get()).find("\nconnected_slaves:0") != std::string_view::npos) return true;
    const std::string wait_ms = std::to_string(kReplicaWait.count());
    const RedisReply acknowledged = redis.blocking_command({"WAIT", "1", wait_ms}, kReplicaWait);
    return acknowledged->type == REDIS_REPLY_INTEGER && acknowledged->integer >= 1;
}

}  // namespace lumen::admind

#include "admind/ledger/redis_strangers.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "admind/stores/pg_arrays.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/ledger_protocol.h"
#include "lumen_core/money.h"

namespace lumen::admind {

namespace {

constexpr const char* kKeysPerStep = "1000";
constexpr std::size_t kIdsPerQuestion = 10'000;

/// `{bNNN}:a:ID` or `{bNNN}:k:ID`; 0 for anything else.
std::int64_t id_of(std::string_view key, char kind) {
    constexpr std::size_t kPrefix = 9;  // {bNNN}:a:
    if (key.size() <= kPrefix || key[0] != '{' || key[7] != kind) return 0;
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(key.data() + kPrefix, key.data() + key.size(), id);
    return error == std::errc() && end == key.data() + key.size() ? id : 0;
}

struct Ids {
    std::vector<AccountId> accounts;
    std::vector<std::pair<std::string, KeyId>> keys;  ///< with the name of the hash
};

void scan_ids(RedisLink& redis, Ids& ids) {
    std::string cursor = "0";
    do {
        const RedisReply step = redis.command({"SCAN", cursor, "MATCH", "{b*}:[ak]:*", "COUNT", kKeysPerStep});
        const redisReply& keys = *step->element[1];
        for (std::size_t i = 0; i < keys.elements; ++i) {
            const std::string_view key = reply_text(keys.element[i]);
            if (const AccountId account = id_of(key, 'a')) ids.accounts.push_back(account);
            if (const KeyId id = id_of(key, 'k')) ids.keys.emplace_back(key, id);
        }
        cursor = std::string(reply_text(step->element[0]));
    } while (cursor != "0");
}

/// Those of `ids` that `table` does not have.
template <class Range, class IdOf>
std::set<std::int64_t> unknown(PgPool& postgres, const char* table, const Range& range, IdOf id_of_element) {
    std::set<std::int64_t> missing;
    auto connection = postgres.acquire();
    pqxx::read_transaction transaction(*connection);
    for (std::size_t first = 0; first < range.size(); first += kIdsPerQuestion) {
        PgIntegers ids;
        for (std::size_t i = first; i < std::min(range.size(), first + kIdsPerQuestion); ++i)
            ids.add(id_of_element(range[i]));
        for (const auto& row :
             transaction.exec_params(std::string("select x from unnest($1::bigint[]) as x where not exists "
                                                 "(select 1 from ") +
                                         table + " where id = x)",
                                     ids.text())) {
            missing.insert(row[0].as<std::int64_t>());
        }
    }
    return missing;
}

}  // namespace

Strangers find_strangers(PgPool& postgres, RedisLink& redis) {
    Ids ids;
    redis.each_master([&](RedisLink& master) { scan_ids(master, ids); });
    Strangers strangers;
    for (const std::int64_t id :
         unknown(postgres, "accounts", ids.accounts, [](AccountId account) { return account; })) {
        strangers.accounts.push_back(id);
    }
    const auto keys = unknown(postgres, "api_keys", ids.keys, [](const auto& key) { return key.second; });
    for (const auto& [name, key] : ids.keys) {
        if (keys.count(key) == 0) continue;
        const RedisReply owner = redis.command({"HGET", name, "acct"});
        strangers.keys.emplace_back(parse_nano(reply_text(owner.get())).value_or(NanoCoins()).nano(), key);
    }
    return strangers;
}

void skip_ids(PgPool& postgres, const Strangers& strangers) {
    std::int64_t account = 0;
    for (const AccountId id : strangers.accounts) account = std::max(account, id);
    std::int64_t key = 0;
    for (const auto& [owner, id] : strangers.keys) key = std::max(key, id);
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    for (const auto& [table, id] : {std::pair("accounts", account), std::pair("api_keys", key)}) {
        // Sequences only ever grow here.
        transaction.exec_params(
            "select setval(s, greatest($2::bigint, coalesce(pg_sequence_last_value(s), 0), 1)) "
            "from (select pg_get_serial_sequence($1, 'id')::regclass as s) sequence",
            std::string(table), id);
    }
    transaction.commit();
}

std::vector<std::string> remove_strangers(RedisLink& redis, const Strangers& strangers) {
    std::vector<std::string> lines;
    std::set<KeyId> keys;
    for (const auto& [account, key] : strangers.keys) {
        keys.insert(key);
        redis.command({"DEL", api_key_key(account, key)});
        lines.push_back("key " + std::to_string(key) + " of account " + std::to_string(account) +
                        ": not in the book, its owner needs a new one");
    }
    for (const AccountId account : strangers.accounts) {
        const RedisReply balance = redis.command({"HGET", account_key(account), "bal"});
        lines.push_back("account " + std::to_string(account) + ": not in the book, had " +
                        format_coins(parse_nano(reply_text(balance.get())).value_or(NanoCoins())) + " coins");
        redis.command({"DEL", account_key(account)});
    }
    if (keys.empty()) return lines;
    for (int i = 0; i < kBuckets; ++i) {
        const std::string hash = bucket_key(static_cast<Bucket>(i), "kh");
        const RedisReply entries = redis.command({"HGETALL", hash});
        for (std::size_t j = 0; j + 1 < entries->elements; j += 2) {
            const std::string_view entry = reply_text(entries->element[j + 1]);  // account:key
            const auto key = parse_nano(entry.substr(std::min(entry.size(), entry.find(':') + 1)));
            if (key && keys.count(key->nano()) > 0) redis.command({"HDEL", hash, reply_text(entries->element[j])});
        }
    }
    return lines;
}

}  // namespace lumen::admind

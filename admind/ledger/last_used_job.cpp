#include "admind/ledger/last_used_job.h"

#include <vector>

#include "admind/stores/pg_arrays.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

namespace {

struct KeyUse {
    KeyId key = 0;
    AccountId account = 0;
    std::int64_t last_ms = 0;
};

std::vector<KeyUse> read_book(PgPool& postgres, Bucket bucket) {
    auto connection = postgres.acquire();
    pqxx::read_transaction transaction(*connection);
    std::vector<KeyUse> keys;
    for (const auto& row : transaction.exec_params(
             "select k.id, k.account_id, coalesce((extract(epoch from t.last_used_at) * 1000)::bigint, 0) "
             "from accounts a join api_keys k on k.account_id = a.id left join key_totals t on t.key_id = k.id "
             "where a.bucket = $1 and k.state <> 2 order by k.id",
             static_cast<int>(bucket))) {
        keys.push_back({row[0].as<KeyId>(), row[1].as<AccountId>(), row[2].as<std::int64_t>()});
    }
    return keys;
}

/// In order of key id, as the drain upserts them: two transactions never wait for each other's rows in a circle.
void write_book(PgPool& postgres, const std::vector<KeyUse>& newer) {
    auto connection = postgres.acquire();
    pqxx::work transaction(*connection);
    transaction.exec_params(
        "insert into key_totals as t (key_id, account_id, last_used_at) "
        "select key_id, account_id, to_timestamp(last_ms / 1000.0) "
        "from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as x (key_id, account_id, last_ms) "
        "on conflict (key_id) do update set last_used_at = greatest(t.last_used_at, excluded.last_used_at)",
        pg_integers(newer, [](const KeyUse& use) { return use.key; }),
        pg_integers(newer, [](const KeyUse& use) { return use.account; }),
        pg_integers(newer, [](const KeyUse& use) { return use.last_ms; }));
    transaction.commit();
}

}  // namespace

std::int64_t copy_last_used(PgPool& postgres, RedisLink& redis) {
    std::int64_t copied = 0;
    for (int i = 0; i < kBuckets; ++i) {
        const std::vector<KeyUse> keys = read_book(postgres, static_cast<Bucket>(i));
        for (const KeyUse& use : keys) redis.append({"HGET", api_key_key(use.account, use.key), "last"});
        std::vector<KeyUse> newer;
        for (const KeyUse& use : keys) {
            const RedisReply reply = redis.next_of_any();
            const auto last = parse_nano(reply_text(reply.get()));
            if (last && last->nano() > use.last_ms) newer.push_back({use.key, use.account, last->nano()});
        }
        if (!newer.empty()) write_book(postgres, newer);
        copied += static_cast<std::int64_t>(newer.size());
    }
    return copied;
}

}  // namespace lumen::admind

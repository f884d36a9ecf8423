#include "admind/people/secret_rotation.h"

#include <Poco/Logger.h>

#include <optional>
#include <string_view>
#include <utility>

#include "admind/ledger/pg_store_ledger.h"
#include "admind/text/json.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/api_key.h"
#include "lumen_core/catalogue.h"
#include "lumen_core/credential_seal.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

namespace {

/// One look takes so many; the rest waits for the next second.
constexpr std::size_t kMostRehashes = 2'000;
constexpr const char* kScanCount = "500";

void seal_anew(pqxx::transaction_base& transaction, const AppSettings& app) {
    for (const auto& row : transaction.exec("select id, credential from endpoints where credential <> ''")) {
        const auto id = row[0].as<std::string>();
        const auto sealed = row[1].as<std::string>();
        if (unseal_credential(app.encryption_key, id, sealed)) continue;
        const auto plain = unseal_credential(app.previous_encryption_key, id, sealed);
        if (!plain) continue;  // what the file says of it is sealed when it is applied
        transaction.exec_params0("update endpoints set credential = $2 where id = $1", id,
                                 seal_credential(app.encryption_key, id, *plain));
    }
}

struct Rehash {
    AccountId account = 0;
    KeyId key = 0;
    std::string secret_id;
    KeyHash hash{};
};

/// `account:key` and `secret id:hash in hex`.
std::optional<Rehash> parse_rehash(std::string_view field, std::string_view value) {
    const std::size_t in_field = field.find(':');
    const std::size_t in_value = value.find(':');
    if (in_field == std::string_view::npos || in_value == std::string_view::npos) return std::nullopt;
    const auto account = parse_id(field.substr(0, in_field));
    const auto key = parse_id(field.substr(in_field + 1));
    const auto hash = key_hash_of_hex(value.substr(in_value + 1));
    if (!account || !key || !hash) return std::nullopt;
    Rehash rehash;
    rehash.account = *account;
    rehash.key = *key;
    rehash.secret_id = value.substr(0, in_value);
    rehash.hash = *hash;
    return rehash;
}

/// False: the book has no such key to change, as it has the new hash already or the key was revoked.
bool rehash_key(PgPool& postgres, RedisLink& redis, const Rehash& rehash) {
    PgPool::Lease lease = postgres.acquire();
    pqxx::work transaction(*lease);
    const pqxx::binarystring hash(rehash.hash.data(), rehash.hash.size());
    const auto rows = transaction.exec_params(
        "select key_hash = $3 from api_keys"
        " where id = $1 and account_id = $2 and kind = 'user' and state <> 2"
        " and not exists (select 1 from api_keys other where other.key_hash = $3 and other.id <> $1) for update",
        rehash.key, rehash.account, hash);
    if (rows.empty()) return false;
    // Redis first: a bucket that is rebuilt from the book in between has at least one of the two. Said again of a key
    // that has moved, as a gate missed it: a rebuild that read the book before may have written after.
    redis.command({"HSET", bucket_key(lookup_bucket(rehash.hash), "kh"), key_hash_bytes(rehash.hash),
                   lookup_entry(rehash.account, rehash.key)});
    if (rows[0][0].as<bool>()) return false;
    transaction.exec_params0("update api_keys set key_hash = $2, secret_id = $3 where id = $1", rehash.key, hash,
                             rehash.secret_id);
    transaction.commit();
    return true;
}

}  // namespace

void adopt_secret(pqxx::transaction_base& transaction, const AppSettings& app) {
    const bool rotating = !app.previous_encryption_key.empty();
    if (rotating) seal_anew(transaction, app);
    const std::string oldest = installation_secret_id(rotating ? app.previous_encryption_key : app.encryption_key);
    for (const char* unnamed : {"api_keys set secret_id = $1 where secret_id is null and kind = 'user' and state <> 2",
                                "operator_tokens set secret_id = $1 where secret_id is null",
                                "key_drafts set secret_id = $1 where secret_id is null"}) {
        transaction.exec_params0(std::string("update ") + unnamed, oldest);
    }
}

bool knows_secret(const AppSettings& app, std::string_view secret_id) {
    return secret_id.empty() || secret_id == installation_secret_id(app.encryption_key) ||
           (!app.previous_encryption_key.empty() && secret_id == installation_secret_id(app.previous_encryption_key));
}

std::size_t take_rehashes(PgPool& postgres, RedisLink& redis, const AppSettings& app) {
    if (app.previous_encryption_key.empty()) return 0;
    const std::string current = installation_secret_id(app.encryption_key);
    const std::string previous = installation_secret_id(app.previous_encryption_key);
    std::size_t taken = 0;
    std::size_t seen = 0;
    std::string cursor = "0";
    do {
        const RedisReply page = redis.command({"HSCAN", kRehashKey, cursor, "COUNT", kScanCount});
        cursor = reply_text(page->element[0]);
        const redisReply& entries = *page->element[1];
        for (std::size_t i = 0; i + 1 < entries.elements; i += 2, ++seen) {
            const std::string_view field = reply_text(entries.element[i]);
            const auto rehash = parse_rehash(field, reply_text(entries.element[i + 1]));
            // For when the two change places: several admind are told of the new one before it is in force.
            if (rehash && rehash->secret_id == previous) continue;
            // That of any other is of a rotation that was broken off.
            if (rehash && rehash->secret_id == current && rehash_key(postgres, redis, *rehash)) ++taken;
            redis.command({"HDEL", kRehashKey, field});
        }
    } while (cursor != "0" && seen < kMostRehashes);
    if (taken > 0) {
        Poco::Logger::get("secret").information(std::to_string(taken) +
                                                " keys moved to the installation secret in force");
    }
    return taken;
}

LeftBehind left_behind(pqxx::transaction_base& transaction, const AppSettings& app) {
    const std::string current = installation_secret_id(app.encryption_key);
    constexpr const char* kOfKeys =
        " from api_keys k where k.kind = 'user' and k.state <> 2 and (k.expires_at is null or k.expires_at > now())"
        " and k.secret_id is distinct from $1";
    LeftBehind left;
    left.key_count = transaction.exec_params1(std::string("select count(*)") + kOfKeys, current)[0].as<std::int64_t>();
    left.token_count = transaction
                           .exec_params1(
                               "select count(*) from operator_tokens where revoked_at is null"
                               " and (expires_at is null or expires_at > now()) and secret_id is distinct from $1",
                               current)[0]
                           .as<std::int64_t>();
    const auto rows = transaction.exec_params(
        "select k.id, coalesce((select u.email from users u where u.account_id = k.account_id),"
        " (select p.name from projects p where p.account_id = k.account_id), ''), k.name, k.hint,"
        " coalesce((select (extract(epoch from t.last_used_at) * 1000)::bigint from key_totals t where t.key_id = "
        "k.id),"
        " 0) as used" +
            std::string(kOfKeys) + " order by used desc, k.id limit $2",
        current, kMostKeysLeftBehind);
    for (const auto& row : rows) {
        left.keys.push_back({row[0].as<std::int64_t>(), row[1].as<std::string>(), row[2].as<std::string>(),
                             row[3].as<std::string>(), row[4].as<std::int64_t>()});
    }
    return left;
}

}  // namespace lumen::admind

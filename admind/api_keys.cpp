// API keys: a person's own (draft, save, list, delete), and those of any account for administrators.
#include "admind/account_view.h"
#include "admind/api_parts.h"
#include "admind/audit.h"
#include "admind/bounds.h"
#include "admind/handlers.h"
#include "admind/key_setup.h"
#include "admind/request_fields.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestKeyName = 64;  // P37

const std::vector<SortColumn>& key_columns() {
    static const std::vector<SortColumn> columns{{"name", "sort_name", "text"},
                                                 {"requests", "requests", "bigint"},
                                                 {"tokens", "tokens", "bigint"},
                                                 {"coins", "spent", "bigint"},
                                                 {"last_used_at", "last_used_at", "timestamptz"},
                                                 {"created_at", "id", "bigint"}};
    return columns;
}

constexpr const char* kKeyQuery =
    "select k.id, k.name, lower(k.name) sort_name, k.hint, k.state, k.cap, k.cap_len is null as cap_for_ever,"
    " extract(epoch from k.cap_len)::bigint cap_seconds, (extract(epoch from k.created_at) * 1000)::bigint created_ms,"
    " coalesce((extract(epoch from k.expires_at) * 1000)::bigint, 0) expires_ms,"
    " coalesce((extract(epoch from k.revoked_at) * 1000)::bigint, 0) revoked_ms,"
    " coalesce(t.requests, 0) requests, coalesce(t.tokens_in + t.tokens_out, 0) tokens, coalesce(t.spent, 0) spent,"
    " t.last_used_at, coalesce((extract(epoch from t.last_used_at) * 1000)::bigint, 0) last_used_ms"
    " from api_keys k left join key_totals t on t.key_id = k.id where k.kind = 'user'";

struct Period {
    const char* name;
    std::int64_t seconds;  ///< 0: for ever
};
constexpr Period kPeriods[] = {{"day", 86'400}, {"week", 604'800}, {"month", 2'592'000}, {"total", 0}};

const char* period_name(std::int64_t seconds) {
    for (const Period& period : kPeriods) {
        if (period.seconds == seconds) return period.name;
    }
    return "total";
}

Json key_json(const pqxx::row& row) {
    Json key{{"id", id_json(row["id"].as<KeyId>())},
             {"name", row["name"].as<std::string>()},
             {"hint", row["hint"].as<std::string>()}};
    put_use(key, row);
    key["created_at"] = utc_text(row["created_ms"].as<std::int64_t>());
    key["expires_at"] = utc_json(row["expires_ms"].as<std::int64_t>());
    key["deleted_at"] = utc_json(row["revoked_ms"].as<std::int64_t>());
    key["paused"] = row["state"].as<int>() == static_cast<int>(KeyState::paused);
    key["models"] = nullptr;
    key["budget"] = row["cap"].is_null() ? Json(nullptr)
                                         : Json{{"coins", format_coins(NanoCoins(row["cap"].as<std::int64_t>()))},
                                                {"period", period_name(row["cap_seconds"].as<std::int64_t>(0))}};
    return key;
}

Json read_key_json(pqxx::transaction_base& transaction, KeyId key) {
    return key_json(transaction.exec_params1(std::string(kKeyQuery) + " and k.id = $1", key));
}

/// Redis knows of the last call before the book does (ledger.md 6.4): the later of the two is shown.
void show_latest_use(RedisPool& pool, AccountId account, Json& keys) {
    try {
        RedisPool::Lease redis = pool.acquire();
        for (const Json& key : keys) {
            redis->append({"HGET", api_key_key(account, *parse_id(key["id"].get_ref<const std::string&>())), "last"});
        }
        for (Json& key : keys) {
            const RedisReply reply = redis->next();
            const auto last = parse_id(reply_text(reply.get()));
            if (!last) continue;
            const std::string live = utc_text(*last);
            Json& shown = key["last_used_at"];
            // Times of one form sort as text.
            if (shown.is_null() || shown.get_ref<const std::string&>() < live) shown = live;
        }
    } catch (const RedisUnavailable&) {
        // The book's times stand.
    }
}

/// name, expires_at and budget: what a key is made with, besides its secret.
struct KeyWishes {
    std::string name;
    std::int64_t expires_ms = 0;
    std::optional<NanoCoins> cap;
    std::int64_t cap_window_ms = 0;
};

KeyWishes read_wishes(RequestFields& fields) {
    KeyWishes wishes;
    wishes.name = fields.text("name", Need::required, kLongestKeyName).value_or("");
    wishes.expires_ms = fields.future_time("expires_at", Need::optional, unix_ms_now()).value_or(0);
    if (const Json* budget = fields.object("budget")) {
        RequestFields inner(*budget);
        wishes.cap = inner.coins("coins", Need::required);
        const auto period = inner.word("period", Need::required, {"day", "week", "month", "total"});
        for (const Period& known : kPeriods) {
            if (period && *period == known.name) wishes.cap_window_ms = known.seconds * 1000;
        }
        fields.take_errors("budget", inner);
    }
    return wishes;
}

NewKey new_key(const Settings& settings, AccountId account, const KeyWishes& wishes) {
    NewKey key;
    key.account = account;
    key.name = wishes.name;
    key.expires_at_ms = wishes.expires_ms;
    key.requests_per_minute = per_minute(settings.rates.requests);
    key.tokens_per_minute = per_minute(settings.rates.tokens);
    key.cap = wishes.cap;
    key.cap_window_ms = wishes.cap_window_ms;
    return key;
}

Problem too_many_keys() {
    return {409, "too_many_keys",
            "This account has " + std::to_string(kMaxKeysPerAccount) + " keys. Delete some first."};
}

bool has_room(pqxx::transaction_base& transaction, AccountId account) {
    const auto count = transaction.exec_params1(
        "select count(*) from api_keys where account_id = $1 and kind = 'user' and state <> 2", account)[0];
    return count.as<std::size_t>() < kMaxKeysPerAccount;
}

Answer delete_key(const Call& call, AccountId account, std::optional<KeyId> key) {
    if (!key) return not_found();
    const auto revocation = call.services.ledger.revoke_key(account, *key, call.caller.label());
    if (!revocation.found) return not_found();
    if (revocation.in_force == InForce::not_yet) return not_yet_in_force();
    return {204, nullptr};
}

Deleted wants_deleted(const HttpRequest& request) {
    return request.query_value("deleted") == "true" ? Deleted::shown : Deleted::hidden;
}

}  // namespace

std::variant<Json, Problem> keys_page(const Call& call, pqxx::transaction_base& transaction, AccountId account,
                                      Deleted deleted, const HttpRequest& page_of) {
    auto page = read_page_request(page_of, key_columns());
    if (auto* problem = std::get_if<Problem>(&page)) return std::move(*problem);
    std::string query = std::string(kKeyQuery) + " and k.account_id = " + std::to_string(account);
    if (deleted == Deleted::hidden) query += " and k.state <> 2";
    if (const auto wanted = page_of.query_value("q"); wanted && !wanted->empty()) {
        const std::string text = transaction.quote(*wanted);
        query += " and (position(lower(" + text + ") in lower(k.name)) > 0 or position(" + text + " in k.hint) > 0)";
    }
    Json list = read_page(transaction, std::get<PageRequest>(page), query, key_json);
    show_latest_use(call.services.redis, account, list["data"]);
    return list;
}

Answer post_key_draft(const Call& call) {
    const Json body = call.body.is_null() ? Json::object() : call.body;
    RequestFields fields(body);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const KeyDraft draft =
        make_draft(transaction, call.settings.app.encryption_key, call.caller.account, unix_ms_now());
    transaction.commit();
    return {201,
            {{"draft_id", draft.id},
             {"key", draft.secret},
             {"hint", draft.hint},
             {"expires_at", utc_text(draft.expires_ms)}}};
}

Answer delete_key_draft(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    discard_draft(transaction, call.caller.account, call.path.at(0));
    transaction.commit();
    return {204, nullptr};
}

Answer post_my_key(const Call& call) {
    RequestFields fields(call.body);
    const auto draft_id = fields.text("draft_id", Need::required, 64);
    const KeyWishes wishes = read_wishes(fields);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    KeyId id = 0;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        if (!has_room(transaction, call.caller.account)) return too_many_keys();
        const auto draft = take_draft(transaction, call.caller.account, *draft_id);
        if (!draft) return Problem{410, "draft_expired", "This key was never saved and is gone. Make a new one."};
        NewKey key = new_key(call.settings, call.caller.account, wishes);
        key.hash = draft->hash;
        key.hint = draft->hint;
        id = insert_key(transaction, key);
        transaction.commit();
    }
    const InForce in_force = call.services.ledger.enforce_key(id);
    if (in_force == InForce::not_yet) return not_yet_in_force();
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    return {201, read_key_json(transaction, id)};
}

Answer get_my_keys(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    return answer_of(keys_page(call, transaction, call.caller.account, wants_deleted(call.http), call.http));
}

Answer delete_my_key(const Call& call) {
    return delete_key(call, call.caller.account, call.path_id(0));
}

Answer get_account_keys(const Call& call) {
    const auto account = call.path_id(0);
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    if (!account || !read_wallet(transaction, *account)) return not_found();
    return answer_of(keys_page(call, transaction, *account, wants_deleted(call.http), call.http));
}

Answer post_account_key(const Call& call) {
    const auto account = call.path_id(0);
    if (!account) return not_found();
    RequestFields fields(call.body);
    const KeyWishes wishes = read_wishes(fields);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    NewKey key = new_key(call.settings, *account, wishes);
    const std::string secret = fill_in_secret(key, call.settings.app.encryption_key);
    KeyId id = 0;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        if (!read_wallet(transaction, *account)) return not_found();
        if (!has_room(transaction, *account)) return too_many_keys();
        id = insert_key(transaction, key);
        audit(transaction, call, "key.create", "account:" + std::to_string(*account), {{"key", id_json(id)}});
        transaction.commit();
    }
    if (call.services.ledger.enforce_key(id) == InForce::not_yet) return not_yet_in_force();
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    Json answer = read_key_json(transaction, id);
    answer["key"] = secret;
    return {201, std::move(answer)};
}

Answer delete_account_key(const Call& call) {
    const auto account = call.path_id(0);
    const auto key = call.path_id(1);
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto wallet = account ? read_wallet(transaction, *account) : std::nullopt;
        if (!wallet || !key) return not_found();
        if (!if_match(call.http, account_etag(*wallet))) return changed_meanwhile();
        audit(transaction, call, "key.delete", "account:" + std::to_string(*account), {{"key", id_json(*key)}});
        transaction.commit();
    }
    return delete_key(call, *account, key);
}

}  // namespace lumen::admind

#include "admind/rest/account_keys.h"

#include <functional>

#include "admind/bounds.h"
#include "admind/ledger/live_updates.h"
#include "admind/people/account_view.h"
#include "admind/people/secret_rotation.h"
#include "admind/rest/audit.h"
#include "admind/rest/key_setup.h"
#include "admind/rest/key_terms.h"
#include "admind/stores/pg_values.h"

namespace lumen::admind {

namespace {

/// What a key's policy is made of can change while the policy is published; then it is made anew.
constexpr int kPolicyRounds = 3;

constexpr const char* kKeyQuery =
    "select k.id, k.name, lower(k.name) sort_name, k.hint, k.state, k.cap,"
    " coalesce((extract(epoch from k.cap_len) * 1000)::bigint, 0) cap_window_ms,"
    " (extract(epoch from k.created_at) * 1000)::bigint created_ms,"
    " coalesce((extract(epoch from k.expires_at) * 1000)::bigint, 0) expires_ms,"
    " coalesce((extract(epoch from k.revoked_at) * 1000)::bigint, 0) revoked_ms,"
    " k.models is null as any_model, case when k.models is not null then to_jsonb(array(select m.name"
    " from models m where m.id = any(k.models) order by m.name)) end model_names, to_jsonb(k.allowed_ips) allowed_ips, "
    "k.own_requests_per_minute,"
    " k.own_tokens_per_minute, k.concurrency,"
    " coalesce(t.requests, 0) requests, coalesce(t.tokens_in + t.tokens_out, 0) tokens, coalesce(t.spent, 0) spent,"
    " t.last_used_at, coalesce((extract(epoch from t.last_used_at) * 1000)::bigint, 0) last_used_ms"
    " from api_keys k left join key_totals t on t.key_id = k.id where k.kind = 'user'";

Json number_json(const pqxx::field& field) {
    return field.is_null() ? Json(nullptr) : Json(field.as<std::int64_t>());
}

Json key_json(const pqxx::row& row) {
    Json key{{"id", id_json(row["id"].as<KeyId>())},
             {"name", row["name"].as<std::string>()},
             {"hint", row["hint"].as<std::string>()}};
    put_use(key, row);
    const auto concurrency = row["concurrency"].as<std::int64_t>();
    key["created_at"] = utc_text(row["created_ms"].as<std::int64_t>());
    key["expires_at"] = utc_json(row["expires_ms"].as<std::int64_t>());
    key["deleted_at"] = utc_json(row["revoked_ms"].as<std::int64_t>());
    key["paused"] = row["state"].as<int>() == static_cast<int>(KeyState::paused);
    key["models"] = row["any_model"].as<bool>() ? Json(nullptr) : Json(read_texts(row["model_names"]));
    key["allowed_ips"] = read_texts(row["allowed_ips"]);
    key["rpm"] = number_json(row["own_requests_per_minute"]);
    key["tpm"] = number_json(row["own_tokens_per_minute"]);
    key["concurrency"] = concurrency == 0 ? Json(nullptr) : Json(concurrency);
    key["budget"] = row["cap"].is_null() ? Json(nullptr)
                                         : Json{{"coins", format_coins(NanoCoins(row["cap"].as<std::int64_t>()))},
                                                {"period", key_period_name(row["cap_window_ms"].as<std::int64_t>())}};
    return key;
}

Json read_key_json(const Call& call, KeyId key) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
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

DraftOwner draft_owner(const Call& call, AccountId account) {
    return {account, call.caller.user};
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

using KeyResult = std::variant<KeyId, Problem>;
using MakeTerms = std::function<std::variant<KeyTerms, Problem>(pqxx::transaction_base&)>;
using WriteKey = std::function<KeyResult(pqxx::transaction_base&, const KeyTerms&, PolicyId)>;

/// `write` runs once the terms' policy is in the catalogue: a gate must know it before a key names it.
KeyResult with_policy(const Call& call, const MakeTerms& terms_now, const WriteKey& write) {
    PolicyId published = 0;
    for (int round = 0; round < kPolicyRounds; ++round) {
        {
            PgPool::Lease lease = call.services.postgres.acquire();
            pqxx::work transaction(*lease);
            const auto terms = terms_now(transaction);
            if (const auto* problem = std::get_if<Problem>(&terms)) return *problem;
            const auto& wanted = std::get<KeyTerms>(terms);
            const PolicyId policy = key_policy_of(transaction, wanted.scope);
            if (policy == published) {
                KeyResult written = write(transaction, wanted, policy);
                if (std::holds_alternative<KeyId>(written)) transaction.commit();
                return written;
            }
            transaction.commit();
            published = policy;
        }
        if (published != 0) call.services.publisher.ensure_published(published);
    }
    return Problem{409, "conflict", "The key was changed by somebody else meanwhile. Try again."};
}

/// A new key with that secret's hash and hint.
KeyId insert_with_terms(const Call& call, pqxx::transaction_base& transaction, NewKey key, const KeyTerms& terms,
                        PolicyId policy) {
    key.name = terms.name;
    const KeyId id = insert_key(transaction, key);
    write_key_terms(transaction, id, terms, policy, call.settings.rates);
    return id;
}

/// For administrators, operators and projects: what was done to a key of somebody else or of many.
void audit_key(pqxx::transaction_base& transaction, const Call& call, const char* action, AccountId account,
               KeyId key) {
    if (call.caller.kind == CallerKind::user && call.caller.account == account) return;
    audit(transaction, call, action, "account:" + std::to_string(account), {{"key", id_json(key)}});
}

/// An id alone: the page loads its keys again.
void tell_key_changed(const Call& call, AccountId account, KeyId key) {
    tell_pages(call.services.redis, account, {LiveEventKind::key, to_text({{"id", id_json(key)}})});
}

}  // namespace

std::variant<Json, Problem> keys_page(const Call& call, pqxx::transaction_base& transaction, AccountId account,
                                      Deleted deleted, const HttpRequest& page_of) {
    auto page = read_page_request(page_of, columns_of_what_is_used());
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

Answer list_keys(const Call& call, AccountId account) {
    const Deleted deleted = call.http.query_value("deleted") == "true" ? Deleted::shown : Deleted::hidden;
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    return answer_of(keys_page(call, transaction, account, deleted, call.http));
}

Answer draft_key(const Call& call, AccountId account) {
    const Json body = call.body.is_null() ? Json::object() : call.body;
    RequestFields fields(body);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const KeyDraft draft =
        make_draft(transaction, call.settings.app.encryption_key, draft_owner(call, account), unix_ms_now());
    transaction.commit();
    return {201,
            {{"draft_id", draft.id},
             {"key", draft.secret},
             {"hint", draft.hint},
             {"expires_at", utc_text(draft.expires_ms)}}};
}

Answer discard_key_draft(const Call& call, AccountId account, const std::string& draft) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    discard_draft(transaction, draft_owner(call, account), draft);
    transaction.commit();
    return {204, nullptr};
}

Answer save_key(const Call& call, AccountId account) {
    RequestFields fields(call.body);
    const auto draft_id = fields.text("draft_id", Need::required, 64);
    const KeyWishes wishes = read_key_wishes(fields, KeyRequest::creation, unix_ms_now());
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    const KeyResult saved = with_policy(
        call,
        [&](pqxx::transaction_base& transaction) {
            return with_wishes(transaction, call.settings, account, {}, wishes);
        },
        [&](pqxx::transaction_base& transaction, const KeyTerms& terms, PolicyId policy) -> KeyResult {
            if (!has_room(transaction, account)) return too_many_keys();
            const auto draft = take_draft(transaction, draft_owner(call, account), *draft_id);
            // A secret may have gone since the draft was shown: the key would never work.
            if (!draft || !knows_secret(call.settings.app, draft->secret_id))
                return Problem{410, "draft_expired", "This key was never saved and is gone. Make a new one."};
            NewKey key;
            key.account = account;
            key.hash = draft->hash;
            key.hint = draft->hint;
            key.secret_id = draft->secret_id;
            const KeyId id = insert_with_terms(call, transaction, key, terms, policy);
            audit_key(transaction, call, "key.create", account, id);
            return id;
        });
    if (const auto* problem = std::get_if<Problem>(&saved)) return *problem;
    const KeyId id = std::get<KeyId>(saved);
    if (call.services.ledger.enforce_key(id) == InForce::not_yet) return not_yet_in_force();
    tell_key_changed(call, account, id);
    return {201, read_key_json(call, id)};
}

Answer make_key(const Call& call, AccountId account) {
    RequestFields fields(call.body);
    const KeyWishes wishes = read_key_wishes(fields, KeyRequest::creation, unix_ms_now());
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    NewKey key;
    key.account = account;
    const std::string secret = fill_in_secret(key, call.settings.app.encryption_key);
    const KeyResult made = with_policy(
        call,
        [&](pqxx::transaction_base& transaction) -> std::variant<KeyTerms, Problem> {
            if (!read_wallet(transaction, account)) return not_found();
            return with_wishes(transaction, call.settings, account, {}, wishes);
        },
        [&](pqxx::transaction_base& transaction, const KeyTerms& terms, PolicyId policy) -> KeyResult {
            if (!has_room(transaction, account)) return too_many_keys();
            const KeyId id = insert_with_terms(call, transaction, key, terms, policy);
            audit(transaction, call, "key.create", "account:" + std::to_string(account), {{"key", id_json(id)}});
            return id;
        });
    if (const auto* problem = std::get_if<Problem>(&made)) return *problem;
    const KeyId id = std::get<KeyId>(made);
    if (call.services.ledger.enforce_key(id) == InForce::not_yet) return not_yet_in_force();
    tell_key_changed(call, account, id);
    Json answer = read_key_json(call, id);
    answer["key"] = secret;
    return {201, std::move(answer)};
}

Answer change_key(const Call& call, AccountId account, std::optional<KeyId> key) {
    RequestFields fields(call.body);
    const KeyWishes wishes = read_key_wishes(fields, KeyRequest::change, unix_ms_now());
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    if (!key) return not_found();

    const KeyResult changed = with_policy(
        call,
        [&](pqxx::transaction_base& transaction) -> std::variant<KeyTerms, Problem> {
            auto terms = lock_key_terms(transaction, account, *key);
            if (!terms) return not_found();
            return with_wishes(transaction, call.settings, account, std::move(*terms), wishes);
        },
        [&](pqxx::transaction_base& transaction, const KeyTerms& terms, PolicyId policy) -> KeyResult {
            write_key_terms(transaction, *key, terms, policy, call.settings.rates);
            audit_key(transaction, call, "key.change", account, *key);
            return *key;
        });
    if (const auto* problem = std::get_if<Problem>(&changed)) return *problem;
    if (call.services.ledger.enforce_key(*key) == InForce::not_yet) return not_yet_in_force();
    tell_key_changed(call, account, *key);
    return {200, read_key_json(call, *key)};
}

Answer delete_key(const Call& call, AccountId account, std::optional<KeyId> key) {
    if (!key) return not_found();
    const auto revocation = call.services.ledger.revoke_key(account, *key, call.caller.label());
    if (!revocation.found) return not_found();
    if (revocation.in_force == InForce::not_yet) return not_yet_in_force();
    tell_key_changed(call, account, *key);
    return {204, nullptr};
}

}  // namespace lumen::admind

#include "admind/rest/key_setup.h"

#include <algorithm>

#include "admind/bounds.h"
#include "admind/people/sessions.h"
#include "admind/rest/http_server.h"

namespace lumen::admind {

std::string fill_in_secret(NewKey& key, std::string_view installation_secret) {
    std::string secret = make_api_key(random_256());
    key.hash = hash_api_key(installation_secret, secret);
    key.hint = api_key_hint(secret);
    key.secret_id = installation_secret_id(installation_secret);
    return secret;
}

KeyDraft make_draft(pqxx::transaction_base& transaction, std::string_view installation_secret, const DraftOwner& owner,
                    std::int64_t now_ms) {
    NewKey key;
    KeyDraft draft;
    draft.secret = fill_in_secret(key, installation_secret);
    draft.hash = key.hash;
    draft.hint = key.hint;
    draft.secret_id = key.secret_id;
    draft.id = new_request_id();
    draft.expires_ms = now_ms + std::chrono::milliseconds(kDraftLife).count();
    transaction.exec_params0(
        "insert into key_drafts (account_id, by_user, id, key_hash, hint, expires_at, secret_id)"
        " values ($1, $2, $3::uuid, $4, $5, to_timestamp($6::numeric / 1000), $7)"
        " on conflict (account_id, by_user) do update set id = excluded.id, key_hash = excluded.key_hash, hint = "
        "excluded.hint,"
        " expires_at = excluded.expires_at, secret_id = excluded.secret_id",
        owner.account, owner.by_user, draft.id, pqxx::binarystring(draft.hash.data(), draft.hash.size()), draft.hint,
        draft.expires_ms, draft.secret_id);
    return draft;
}

std::optional<KeyDraft> take_draft(pqxx::transaction_base& transaction, const DraftOwner& owner,
                                   const std::string& id) {
    // Compared as text: an id that is no UUID is simply not there.
    const auto rows = transaction.exec_params(
        "delete from key_drafts where account_id = $1 and by_user = $2 and id::text = $3"
        " returning key_hash, hint, expires_at > now(), coalesce(secret_id, '')",
        owner.account, owner.by_user, id);
    if (rows.empty() || !rows[0][2].as<bool>()) return std::nullopt;
    const pqxx::binarystring hash(rows[0][0]);
    KeyDraft draft;
    draft.id = id;
    draft.hint = rows[0][1].as<std::string>();
    draft.secret_id = rows[0][3].as<std::string>();
    if (hash.size() != draft.hash.size()) return std::nullopt;
    std::copy(hash.begin(), hash.end(), draft.hash.begin());
    return draft;
}

void discard_draft(pqxx::transaction_base& transaction, const DraftOwner& owner, const std::string& id) {
    transaction.exec_params0("delete from key_drafts where account_id = $1 and by_user = $2 and id::text = $3",
                             owner.account, owner.by_user, id);
}

}  // namespace lumen::admind

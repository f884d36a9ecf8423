// API keys: a person's own (draft, save, list, change, delete), and those of any account for administrators.
#include "admind/people/account_view.h"
#include "admind/rest/account_keys.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"

namespace lumen::admind {

Answer post_key_draft(const Call& call) {
    return draft_key(call, call.caller.account);
}

Answer delete_key_draft(const Call& call) {
    return discard_key_draft(call, call.caller.account, call.path.at(0));
}

Answer post_my_key(const Call& call) {
    return save_key(call, call.caller.account);
}

Answer get_my_keys(const Call& call) {
    return list_keys(call, call.caller.account);
}

Answer patch_my_key(const Call& call) {
    return change_key(call, call.caller.account, call.path_id(0));
}

Answer delete_my_key(const Call& call) {
    return delete_key(call, call.caller.account, call.path_id(0));
}

Answer get_account_keys(const Call& call) {
    const auto account = call.path_id(0);
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        if (!account || !read_wallet(transaction, *account)) return not_found();
    }
    return list_keys(call, *account);
}

Answer post_account_key(const Call& call) {
    const auto account = call.path_id(0);
    return account ? make_key(call, *account) : Answer(not_found());
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

// Making keys: their secret, and the draft a person sees before Save Key (P31–P41).
#pragma once

#include <cstdint>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <string_view>

#include "admind/ledger/pg_store_ledger.h"
#include "lumen_core/api_key.h"

namespace lumen::admind {

/// A new random key; its hash and hint go into `key`, the key itself is given back, once.
std::string fill_in_secret(NewKey& key, std::string_view installation_secret);

struct KeyDraft {
    std::string id;
    std::string secret;  ///< only from make_draft
    std::string hint;
    KeyHash hash{};
    std::string secret_id;  ///< of the secret that made the hash
    std::int64_t expires_ms = 0;
};
/// Whose draft it is: of which account, and made by whom (0: an operator).
struct DraftOwner {
    AccountId account = 0;
    std::int64_t by_user = 0;
};
/// Replaces the owner's draft, if there was one. The draft cannot authenticate: no gate knows its hash.
KeyDraft make_draft(pqxx::transaction_base& transaction, std::string_view installation_secret, const DraftOwner& owner,
                    std::int64_t now_ms);
/// The draft, which is then used up; nullopt if it is another one's, discarded, or too old.
std::optional<KeyDraft> take_draft(pqxx::transaction_base& transaction, const DraftOwner& owner, const std::string& id);
void discard_draft(pqxx::transaction_base& transaction, const DraftOwner& owner, const std::string& id);

}  // namespace lumen::admind

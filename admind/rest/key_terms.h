// What a key's owner may decide about it, in a request and in the book.
#pragma once

#include <cstdint>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <variant>
#include <vector>

#include "admind/people/key_policy.h"
#include "admind/rest/request_fields.h"
#include "admind/settings/settings.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

struct KeyCap {
    NanoCoins coins;
    std::int64_t window_ms = 0;  ///< 0: for ever
};

struct KeyTerms {
    std::string name;
    bool paused = false;
    KeyScope scope;
    std::optional<std::int64_t> requests_per_minute;  ///< its own; the site's holds where that is stricter
    std::optional<std::int64_t> tokens_per_minute;
    std::int64_t concurrency = 0;  ///< running requests; 0: any
    std::int64_t expires_ms = 0;   ///< 0: never
    std::optional<KeyCap> cap;
};

/// A member of a request: not there, or a value, or null, which takes back what was set.
template <class Value>
struct Wish {
    bool given = false;
    std::optional<Value> value;
};
struct KeyWishes {
    std::optional<std::string> name;
    std::optional<bool> paused;
    Wish<std::vector<std::string>> models;
    Wish<std::vector<std::string>> allowed_ips;  ///< in their one form
    Wish<std::int64_t> requests_per_minute;
    Wish<std::int64_t> tokens_per_minute;
    Wish<std::int64_t> concurrency;
    Wish<std::int64_t> expires_ms;
    Wish<KeyCap> cap;
};
enum class KeyRequest : std::uint8_t { creation, change };
/// What is wrong is noted in `fields`.
KeyWishes read_key_wishes(RequestFields& fields, KeyRequest kind, std::int64_t now_ms);

/// `terms` as wished; 422 for a model that this account cannot know of.
std::variant<KeyTerms, Problem> with_wishes(pqxx::transaction_base& transaction, const Settings& settings,
                                            AccountId account, KeyTerms terms, const KeyWishes& wishes);

/// The terms of a living key of that account, locked against other changes.
std::optional<KeyTerms> lock_key_terms(pqxx::transaction_base& transaction, AccountId account, KeyId key);
/// `policy`: of terms.scope, published.
void write_key_terms(pqxx::transaction_base& transaction, KeyId key, const KeyTerms& terms, PolicyId policy,
                     const RateSettings& site);

/// "day", "week", "month" or "total".
const char* key_period_name(std::int64_t window_ms);

}  // namespace lumen::admind

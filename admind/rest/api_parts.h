// JSON that several resources share: /me/profile is made of the parts that the other routes answer with.
#pragma once

#include <pqxx/pqxx>
#include <string>
#include <variant>

#include "admind/people/account_rules.h"
#include "admind/rest/paging.h"
#include "admind/rest/routes.h"

namespace lumen::admind {

Json session_json(const Call& call);
/// `email`: of who looks, if known; a theme may be theirs (T1).
Json site_json(const Settings& settings, std::string_view email);

struct AvatarChoice {
    const char* kind;  ///< "gravatar" or "initials"
    bool may_change = false;
};
/// `own`: the person's choice; empty: none.
AvatarChoice avatar_choice(const Settings& settings, const std::string& own);

/// GET /me of that user.
Json me_json(const Call& call, pqxx::transaction_base& transaction, std::int64_t user, AccountId account,
             const RulesOfAccount& rules);

/// A page of an account's keys; deleted ones too if asked for.
enum class Deleted : std::uint8_t { hidden, shown };
std::variant<Json, Problem> keys_page(const Call& call, pqxx::transaction_base& transaction, AccountId account,
                                      Deleted deleted, const HttpRequest& page_of);

/// A page of all models as the account has them; disabled ones too if asked for.
enum class Disabled : std::uint8_t { hidden, shown };
std::variant<Json, Problem> models_page(const Call& call, pqxx::transaction_base& transaction, AccountId account,
                                        Disabled disabled, const HttpRequest& page_of);

/// All that are turned on in one list by name, {data, next_cursor, prev_cursor}: there are at most a thousand.
Json all_models_page(const Call& call, pqxx::transaction_base& transaction, AccountId account,
                     const RulesOfAccount& rules);

/// All models as the account has them, disabled ones too, in no order.
Json models_of_account(const Call& call, pqxx::transaction_base& transaction, AccountId account);
/// One of them: what GET /me/models says of it; null: there is no such model.
Json model_of_account(const Call& call, pqxx::transaction_base& transaction, AccountId account, ModelId model);

/// Models and consents of one account, for whoever may see and give them.
Answer list_models(const Call& call, AccountId account);
Answer give_consent(const Call& call, AccountId account);

/// Turns either alternative into the answer.
inline Answer answer_of(std::variant<Json, Problem> result) {
    if (auto* problem = std::get_if<Problem>(&result)) return Answer(std::move(*problem));
    return {200, std::get<Json>(std::move(result))};
}

}  // namespace lumen::admind

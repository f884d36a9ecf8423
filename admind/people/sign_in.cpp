#include "admind/people/sign_in.h"

#include "admind/people/account_setup.h"
#include "admind/people/claimed_person.h"
#include "admind/people/settings_apply.h"
#include "admind/settings/group_rules.h"

namespace lumen::admind {

namespace {

struct Known {
    SignedIn who;
    std::string email;
    bool active = true;
};

std::optional<Known> known_from(const pqxx::result& rows) {
    if (rows.empty()) return std::nullopt;
    return Known{{rows[0][0].as<std::int64_t>(), rows[0][1].as<AccountId>()},
                 rows[0][2].as<std::string>(),
                 rows[0][3].as<bool>()};
}

std::optional<Known> find_by_email(pqxx::transaction_base& transaction, const std::string& email) {
    return known_from(
        transaction.exec_params("select id, account_id, email, active from users where email = $1 for update", email));
}

std::optional<Known> find_by_identity(pqxx::transaction_base& transaction, const std::string& issuer,
                                      const std::string& subject) {
    return known_from(transaction.exec_params(
        "select u.id, u.account_id, u.email, u.active from identities i join users u on u.id = i.user_id"
        " where i.issuer = $1 and i.subject = $2 for update of u",
        issuer, subject));
}

void note_identity(pqxx::transaction_base& transaction, const std::string& issuer, const std::string& subject,
                   std::int64_t user) {
    transaction.exec_params0(
        "insert into identities (issuer, subject, user_id) values ($1, $2, $3)"
        " on conflict (issuer, subject) do update set last_sign_in_at = now()",
        issuer, subject, user);
}

/// The address a person has now, unless it is somebody else's: then the old one stays, and so do both persons.
void follow_address(pqxx::transaction_base& transaction, const Settings& settings, const Known& known,
                    const std::string& email) {
    if (known.email == email || find_by_email(transaction, email)) return;
    transaction.exec_params0("update users set email = $2 where id = $1", known.who.user, email);
    forget_settings(transaction, known.who.account);
    apply_user_settings(transaction, settings, email, known.who.account);
}

std::string subject_of(const Json& claims) {
    const auto subject = claims.find("sub");
    return subject != claims.end() && subject->is_string() ? subject->get<std::string>() : std::string();
}

/// A person we know, brought up to date; nullopt: there is none yet.
std::optional<Known> update_known(const Services& services, const Settings& settings, const std::string& issuer,
                                  const Json& claims, const ClaimedPerson& person) {
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    keep_settings_still(transaction);
    const std::string subject = subject_of(claims);
    auto known = find_by_identity(transaction, issuer, subject);
    if (!known) known = find_by_email(transaction, person.email);
    if (!known || !known->active) return known;
    note_identity(transaction, issuer, subject, known->who.user);
    follow_address(transaction, settings, *known, person.email);
    transaction.exec_params0("update users set name = $2 where id = $1 and name <> $2", known->who.user, person.name);
    store_claims(transaction, known->who.account, claims);
    transaction.commit();
    return known;
}

std::variant<SignedIn, Problem> active_only(const std::optional<Known>& known) {
    if (known && known->active) return known->who;
    return Problem{403, "account_disabled", "This account is deactivated."};
}

}  // namespace

std::variant<SignedIn, Problem> sign_in_by_claims(const Services& services, const Settings& settings,
                                                  const std::string& issuer, const Json& claims) {
    const ClaimedPerson person = claimed_person(claims);
    if (person.email.empty()) {
        return Problem{400, "email_missing", "The identity provider gave no email address."};
    }
    if (person.email_unverified && !settings.oauth.allow_unverified_email) {
        return Problem{403, "email_unverified", "The identity provider says that this address is not verified."};
    }
    auto known = update_known(services, settings, issuer, claims, person);
    if (!known) {
        create_user(services, settings, person.email, person.name, {},
                    [&](pqxx::transaction_base& transaction, const NewUser& made) {
                        note_identity(transaction, issuer, subject_of(claims), made.user);
                        store_claims(transaction, made.account, claims);
                    });
        // Also when another sign-in of the same person was quicker.
        known = update_known(services, settings, issuer, claims, person);
    }
    if (known && known->active) settle_account_rules(services, settings, known->who.account);
    return active_only(known);
}

std::variant<SignedIn, Problem> sign_in_dev_user(const Services& services, const Settings& settings) {
    const std::string& email = settings.app.dev_user->email;
    const auto find = [&] {
        PgPool::Lease lease = services.postgres.acquire();
        pqxx::work transaction(*lease);
        return find_by_email(transaction, email);
    };
    auto known = find();
    if (!known) {
        create_user(services, settings, email, email.substr(0, email.find('@')), {});
        known = find();
    }
    return active_only(known);
}

}  // namespace lumen::admind

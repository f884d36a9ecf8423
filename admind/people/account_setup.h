// Making users and bringing accounts in line with the rules: what REST, the command line and the leader share.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "admind/people/account_rules.h"
#include "admind/services.h"

namespace lumen::admind {

struct NewUser {
    std::int64_t user = 0;
    AccountId account = 0;
};
struct NewUserResult {
    std::optional<NewUser> user;
    enum class Refusal : std::uint8_t { none, email_taken, unknown_group } refusal = Refusal::none;
    std::string group;  ///< of unknown_group
    InForce in_force = InForce::yes;
};
/// What an account begins with: it names a policy that is published, and no transaction stays open while the catalogue
/// is written for its own.
PolicyId policy_that_blocks_all(const Services& services);

/// `before_commit` runs in the transaction that makes the user, e.g. for the audit log. Starting coins follow the
/// commit.
using BeforeCommit = std::function<void(pqxx::transaction_base&, const NewUser&)>;
NewUserResult create_user(const Services& services, const Settings& settings, const std::string& email,
                          const std::string& name, const std::vector<std::string>& groups,
                          const BeforeCommit& before_commit = {});

/// Resolves one account anew and brings the result into force; also its starting coins, once.
InForce settle_account_rules(const Services& services, const Settings& settings, AccountId account);

/// The user's part of a (de)activation: the account's state, and the end of all sessions so far.
void set_user_active(pqxx::transaction_base& transaction, std::int64_t user, AccountId account, bool active);

/// The leader's work after a start and a reload: the file into the book, then settle_all_accounts(), then a note that
/// the leader of `term` has done so. Repeating it is harmless. `file_hash` names the file in force: another one is
/// another generation. Throws what its parts throw.
void apply_settings_everywhere(const Services& services, const Settings& settings, std::int64_t term,
                               const std::string& file_hash);

/// Publishes the catalogue, then brings every account and key in line that the rules now say something else about; also
/// what an outage left half done.
void settle_all_accounts(const Services& services, const Settings& settings);

}  // namespace lumen::admind

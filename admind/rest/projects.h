// Projects in the book: who may do what with one (spec/ui.md J7), and what changes them.
#pragma once

#include <cstdint>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <variant>

#include "admind/people/account_setup.h"
#include "admind/rest/routes.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

/// Each may do what those before it may.
enum class ProjectRole : std::uint8_t { none, manager, owner, admin };

struct Project {
    std::int64_t id = 0;
    AccountId account = 0;
    std::string name;
    std::int64_t owner = 0;  ///< 0: none
    bool active = true;
    std::int64_t version = 0;
    ProjectRole role = ProjectRole::none;  ///< the caller's

    std::string etag() const;
    bool may(ProjectRole least) const { return role >= least; }
};

/// The project of the path's first id, if the caller has at least that role: 404 to strangers, 403 to those who may see
/// it and no more. Administrators and operators are admins of every project.
std::variant<Project, Problem> open_project(const Call& call, pqxx::transaction_base& transaction, ProjectRole least);
/// The same, and the request's If-Match must be of it as it is now; it stays locked.
std::variant<Project, Problem> open_project_to_change(const Call& call, pqxx::transaction_base& transaction,
                                                      ProjectRole least);

struct NewProject {
    std::int64_t project = 0;
    AccountId account = 0;
};
struct NewProjectResult {
    std::optional<NewProject> project;
    enum class Refusal : std::uint8_t { none, name_taken, user_not_found } refusal = Refusal::none;
    InForce in_force = InForce::yes;
};
using BeforeProjectCommit = std::function<void(pqxx::transaction_base&, const NewProject&)>;
/// With the limits and rights that lumen.yaml has for it, in force at once. `owner_email`: empty for none.
NewProjectResult create_project(const Services& services, const Settings& settings, const std::string& name,
                                const std::string& owner_email, const BeforeProjectCommit& before_commit);

/// False: is one already.
bool add_project_manager(pqxx::transaction_base& transaction, std::int64_t project, std::int64_t user);
/// False: was none.
bool remove_project_manager(pqxx::transaction_base& transaction, std::int64_t project, std::int64_t user);
/// The former owner stays a manager.
void set_project_owner(pqxx::transaction_base& transaction, std::int64_t project, std::int64_t user);
/// False: the name is another's.
bool rename_project(pqxx::transaction_base& transaction, std::int64_t project, const std::string& name);
void set_project_active(pqxx::transaction_base& transaction, const Project& project, bool active);

/// An active user's id; 0: there is none.
std::int64_t find_active_user(pqxx::transaction_base& transaction, const std::string& email);

}  // namespace lumen::admind

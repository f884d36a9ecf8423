#include "admind/rest/projects.h"

#include "admind/people/settings_apply.h"

namespace lumen::admind {

namespace {

ProjectRole role_of(const Call& call, std::int64_t owner, bool manages) {
    if (call.caller.kind == CallerKind::token || call.caller.is_admin) return ProjectRole::admin;
    if (owner != 0 && owner == call.caller.user) return ProjectRole::owner;
    return manages ? ProjectRole::manager : ProjectRole::none;
}

void bump(pqxx::transaction_base& transaction, std::int64_t project) {
    transaction.exec_params0("update projects set version = version + 1 where id = $1", project);
}

std::variant<Project, Problem> open(const Call& call, pqxx::transaction_base& transaction, ProjectRole least,
                                    const char* lock) {
    const auto id = call.path_id(0);
    if (!id) return not_found();
    const auto rows = transaction.exec_params(
        std::string("select p.account_id, p.name, coalesce(p.owner_id, 0), p.active, p.version,"
                    " exists (select from project_managers m where m.project_id = p.id and m.user_id = $2)"
                    " from projects p where p.id = $1") +
            lock,
        *id, call.caller.user);
    if (rows.empty()) return not_found();
    const auto& row = rows[0];
    Project project;
    project.id = *id;
    project.account = row[0].as<AccountId>();
    project.name = row[1].as<std::string>();
    project.owner = row[2].as<std::int64_t>();
    project.active = row[3].as<bool>();
    project.version = row[4].as<std::int64_t>();
    project.role = role_of(call, project.owner, row[5].as<bool>());
    if (project.role == ProjectRole::none) return not_found();
    if (!project.may(least)) {
        return Problem{403, "forbidden",
                       least == ProjectRole::admin ? "This needs an administrator."
                                                   : "This needs the project's owner or an administrator."};
    }
    return project;
}

NewProjectResult refused(NewProjectResult::Refusal refusal) {
    NewProjectResult result;
    result.refusal = refusal;
    return result;
}

NewProjectResult insert_project(const Services& services, const Settings& settings, PolicyId policy,
                                const std::string& name, const std::string& owner_email,
                                const BeforeProjectCommit& before_commit) {
    using Refusal = NewProjectResult::Refusal;
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    keep_settings_still(transaction);
    const std::int64_t owner = owner_email.empty() ? 0 : find_active_user(transaction, owner_email);
    if (!owner_email.empty() && owner == 0) return refused(Refusal::user_not_found);
    AccountSettings beginning;
    beginning.policy = policy;
    NewProject made;
    made.account = insert_account(transaction, AccountOwner::project, beginning);
    const auto inserted = transaction.exec_params(
        "insert into projects (account_id, name, owner_id) values ($1, $2, nullif($3::bigint, 0))"
        " on conflict (name) do nothing returning id",
        made.account, name, owner);
    if (inserted.empty()) return refused(Refusal::name_taken);
    made.project = inserted[0][0].as<std::int64_t>();
    if (owner != 0) add_project_manager(transaction, made.project, owner);
    apply_project_settings(transaction, settings, name, made.account);
    before_commit(transaction, made);
    transaction.commit();
    NewProjectResult result;
    result.project = made;
    return result;
}

}  // namespace

std::string Project::etag() const {
    return "\"p" + std::to_string(id) + "-" + std::to_string(version) + "\"";
}

std::variant<Project, Problem> open_project(const Call& call, pqxx::transaction_base& transaction, ProjectRole least) {
    return open(call, transaction, least, "");
}

std::variant<Project, Problem> open_project_to_change(const Call& call, pqxx::transaction_base& transaction,
                                                      ProjectRole least) {
    auto opened = open(call, transaction, least, " for update of p");
    const auto* project = std::get_if<Project>(&opened);
    if (project != nullptr && !if_match(call.http, project->etag())) return changed_meanwhile();
    return opened;
}

NewProjectResult create_project(const Services& services, const Settings& settings, const std::string& name,
                                const std::string& owner_email, const BeforeProjectCommit& before_commit) {
    const PolicyId blocks_all = policy_that_blocks_all(services);
    NewProjectResult result = insert_project(services, settings, blocks_all, name, owner_email, before_commit);
    if (result.project) result.in_force = settle_account_rules(services, settings, result.project->account);
    return result;
}

bool add_project_manager(pqxx::transaction_base& transaction, std::int64_t project, std::int64_t user) {
    const auto added = transaction.exec_params(
        "insert into project_managers (project_id, user_id) values ($1, $2) on conflict do nothing", project, user);
    bump(transaction, project);
    return added.affected_rows() > 0;
}

bool remove_project_manager(pqxx::transaction_base& transaction, std::int64_t project, std::int64_t user) {
    const auto removed =
        transaction.exec_params("delete from project_managers where project_id = $1 and user_id = $2", project, user);
    bump(transaction, project);
    return removed.affected_rows() > 0;
}

void set_project_owner(pqxx::transaction_base& transaction, std::int64_t project, std::int64_t user) {
    add_project_manager(transaction, project, user);
    transaction.exec_params0("update projects set owner_id = $2 where id = $1", project, user);
}

bool rename_project(pqxx::transaction_base& transaction, std::int64_t project, const std::string& name) {
    const auto taken = transaction.exec_params("select 1 from projects where name = $2 and id <> $1", project, name);
    if (!taken.empty()) return false;
    transaction.exec_params0("update projects set name = $2 where id = $1", project, name);
    bump(transaction, project);
    return true;
}

void set_project_active(pqxx::transaction_base& transaction, const Project& project, bool active) {
    set_account_active(transaction, project.account, active);
    transaction.exec_params0("update projects set active = $2 where id = $1", project.id, active);
    bump(transaction, project.id);
}

std::int64_t find_active_user(pqxx::transaction_base& transaction, const std::string& email) {
    const auto rows = transaction.exec_params("select id from users where email = $1 and active", email);
    return rows.empty() ? 0 : rows[0][0].as<std::int64_t>();
}

}  // namespace lumen::admind

// A project's managers and its owner (spec/ui.md J6, J7).
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/projects.h"
#include "admind/rest/request_fields.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLeastSearch = 2;

std::string target_of(const Project& project) {
    return "project:" + std::to_string(project.id);
}

Problem no_such_user(const char* field) {
    return {422,
            "user_not_found",
            "There is no such active user.",
            {{field, "user_not_found", "there is no such active user"}}};
}

}  // namespace

Answer post_project_manager(const Call& call) {
    RequestFields fields(call.body);
    const auto email = fields.email("email", Need::required);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto opened = open_project(call, transaction, ProjectRole::owner);
        if (const auto* refused = std::get_if<Problem>(&opened)) return *refused;
        const auto& project = std::get<Project>(opened);
        const std::int64_t user = find_active_user(transaction, *email);
        if (user == 0) return no_such_user("email");
        if (!add_project_manager(transaction, project.id, user)) {
            return Problem{409, "already_manager", "This person manages the project already."};
        }
        audit(transaction, call, "project.manager.add", target_of(project), {{"user", id_json(user)}});
        transaction.commit();
    }
    Answer answer = get_project(call);
    answer.status = 201;
    return answer;
}

Answer delete_project_manager(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto opened = open_project_to_change(call, transaction, ProjectRole::owner);
    if (const auto* refused = std::get_if<Problem>(&opened)) return *refused;
    const auto& project = std::get<Project>(opened);
    const auto user = call.path_id(1);
    if (user && *user == project.owner) {
        return Problem{409, "owner_must_transfer", "Make somebody else the owner first."};
    }
    if (!user || !remove_project_manager(transaction, project.id, *user)) return not_found();
    audit(transaction, call, "project.manager.remove", target_of(project), {{"user", id_json(*user)}});
    transaction.commit();
    return {204, nullptr};
}

Answer put_project_owner(const Call& call) {
    RequestFields fields(call.body);
    const auto given = fields.text("user_id", Need::required, 20);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto opened = open_project_to_change(call, transaction, ProjectRole::owner);
        if (const auto* refused = std::get_if<Problem>(&opened)) return *refused;
        const auto& project = std::get<Project>(opened);
        const auto user = parse_id(*given);
        if (!user || transaction.exec_params("select 1 from users where id = $1 and active", *user).empty()) {
            return no_such_user("user_id");
        }
        if (*user == project.owner) return Problem{409, "already_owner", "This person owns the project already."};
        set_project_owner(transaction, project.id, *user);
        audit(transaction, call, "project.owner", target_of(project), {{"user", id_json(*user)}});
        transaction.commit();
    }
    // Who gave the project away may be a stranger to it now only if it was never theirs: they stay a manager.
    return get_project(call);
}

Answer get_project_user_search(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto opened = open_project(call, transaction, ProjectRole::owner);
    if (const auto* refused = std::get_if<Problem>(&opened)) return *refused;
    const std::string wanted = call.http.query_value("q").value_or("");
    Json people = Json::array();
    if (wanted.size() >= kLeastSearch) {
        for (const auto& row : transaction.exec_params(
                 "select u.id, u.name, u.email from users u where u.active"
                 " and (position(lower($2) in lower(u.name)) > 0 or position(lower($2) in u.email) > 0)"
                 " and not exists (select from project_managers m where m.project_id = $1 and m.user_id = u.id)"
                 " order by lower(u.name), u.id limit 10",
                 std::get<Project>(opened).id, wanted)) {
            people.push_back({{"id", id_json(row[0].as<std::int64_t>())},
                              {"name", row[1].as<std::string>()},
                              {"email", row[2].as<std::string>()}});
        }
    }
    return {200, {{"data", std::move(people)}}};
}

}  // namespace lumen::admind

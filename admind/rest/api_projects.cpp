// Projects: list, create, look at, rename, (de)activate; their people are in api_project_people.cpp, their keys, models
// and consents in api_project_keys.cpp.
#include "admind/people/account_view.h"
#include "admind/people/settings_apply.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/paging.h"
#include "admind/rest/projects.h"
#include "admind/rest/request_fields.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestProjectName = 64;

constexpr const char* kProjectQuery =
    "select p.id, p.account_id, p.name, lower(p.name) sort_name, p.active,"
    " (extract(epoch from p.created_at) * 1000)::bigint created_ms,"
    " coalesce((select jsonb_agg(jsonb_build_object('id', u.id::text, 'name', u.name, 'email', u.email, 'owner',"
    " u.id = coalesce(p.owner_id, 0)) order by u.id <> coalesce(p.owner_id, 0), lower(u.name), u.id)"
    " from project_managers m join users u on u.id = m.user_id where m.project_id = p.id), '[]') managers,"
    " coalesce(b.spent, 0) spent, coalesce(b.requests, 0) requests, coalesce(b.tokens_in + b.tokens_out, 0) tokens,"
    " b.last_used_at, coalesce((extract(epoch from b.last_used_at) * 1000)::bigint, 0) last_used_ms"
    " from projects p left join account_balances b on b.account_id = p.account_id";

Json project_json(const pqxx::row& row) {
    Json project{{"id", id_json(row["id"].as<std::int64_t>())},
                 {"account", id_json(row["account_id"].as<AccountId>())},
                 {"name", row["name"].as<std::string>()},
                 {"managers", parse_json(row["managers"].c_str()).value_or(Json::array())},
                 {"active", row["active"].as<bool>()}};
    put_use(project, row);
    project["created_at"] = utc_text(row["created_ms"].as<std::int64_t>());
    return project;
}

/// J7, for pages to show what a caller can do.
Json rights_json(ProjectRole role) {
    const bool owns = role >= ProjectRole::owner;
    return {{"keys", true},
            {"consents", true},
            {"usage", true},
            {"managers", owns},
            {"owner", owns},
            {"active", owns},
            {"name", role == ProjectRole::admin}};
}

Answer answer_with_project(const Call& call, pqxx::transaction_base& transaction, const Project& project, int status) {
    Json body = project_json(transaction.exec_params1(std::string(kProjectQuery) + " where p.id = $1", project.id));
    body["budget"] = read_budget_json(call.services, transaction, call.settings, project.account);
    body["rights"] = rights_json(project.role);
    Answer answer(status, std::move(body));
    answer.headers.emplace_back("ETag", project.etag());
    return answer;
}

}  // namespace

Answer get_projects(const Call& call) {
    auto page = read_page_request(call.http, columns_of_what_is_used());
    if (auto* problem = std::get_if<Problem>(&page)) return Answer(std::move(*problem));
    std::string query = std::string(kProjectQuery) + " where true";
    if (call.http.query_value("disabled").value_or("") != "true") query += " and p.active";
    if (call.caller.kind == CallerKind::user && !call.caller.is_admin) {
        query += " and exists (select from project_managers m where m.project_id = p.id and m.user_id = " +
                 std::to_string(call.caller.user) + ")";
    }
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    if (const auto wanted = call.http.query_value("q"); wanted && !wanted->empty()) {
        query += " and position(lower(" + transaction.quote(*wanted) + ") in lower(p.name)) > 0";
    }
    return {200, read_page(transaction, std::get<PageRequest>(page), query, project_json)};
}

Answer post_project(const Call& call) {
    RequestFields fields(call.body);
    const auto name = fields.text("name", Need::required, kLongestProjectName);
    const auto owner = fields.email("owner_email", Need::optional);
    if (name && *name == "default") fields.error("name", "not_allowed", "is what lumen.yaml calls all other projects");
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    const NewProjectResult made = create_project(call.services, call.settings, *name, owner.value_or(""),
                                                 [&](pqxx::transaction_base& transaction, const NewProject& project) {
                                                     audit(transaction, call, "project.create",
                                                           "project:" + std::to_string(project.project), call.body);
                                                 });
    using Refusal = NewProjectResult::Refusal;
    if (made.refusal == Refusal::name_taken) return Problem{409, "name_taken", "There is a project of this name."};
    if (made.refusal == Refusal::user_not_found) {
        return Problem{422,
                       "user_not_found",
                       "There is no active user with this address.",
                       {{"owner_email", "user_not_found", "there is no active user with this address"}}};
    }
    if (made.in_force == InForce::not_yet) return not_yet_in_force();
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const std::vector<std::string> path{std::to_string(made.project->project)};
    const Call again{call.services, call.settings, call.http, call.caller, path, call.body};
    const auto project = open_project(again, transaction, ProjectRole::admin);
    return answer_with_project(call, transaction, std::get<Project>(project), 201);
}

Answer get_project(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto project = open_project(call, transaction, ProjectRole::manager);
    if (const auto* refused = std::get_if<Problem>(&project)) return *refused;
    return answer_with_project(call, transaction, std::get<Project>(project), 200);
}

Answer patch_project(const Call& call) {
    RequestFields fields(call.body);
    const auto active = fields.boolean("active", Need::optional);
    const auto name = fields.text("name", Need::optional, kLongestProjectName);
    if (name && *name == "default") fields.error("name", "not_allowed", "is what lumen.yaml calls all other projects");
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    AccountId account = 0;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        keep_settings_still(transaction);
        const auto opened = open_project_to_change(call, transaction, name ? ProjectRole::admin : ProjectRole::owner);
        if (const auto* refused = std::get_if<Problem>(&opened)) return *refused;
        const auto& project = std::get<Project>(opened);
        account = project.account;
        if (name && !rename_project(transaction, project.id, *name)) {
            return Problem{409, "name_taken", "There is a project of this name."};
        }
        if (name) apply_project_settings(transaction, call.settings, *name, account);
        if (active && *active != project.active) set_project_active(transaction, project, *active);
        audit(transaction, call, "project.change", "project:" + std::to_string(project.id), call.body);
        transaction.commit();
    }
    // The name decides which part of lumen.yaml speaks of it.
    if (name && settle_account_rules(call.services, call.settings, account) == InForce::not_yet) {
        return not_yet_in_force();
    }
    if (call.services.ledger.enforce_account(account) == InForce::not_yet) return not_yet_in_force();
    return get_project(call);
}

}  // namespace lumen::admind

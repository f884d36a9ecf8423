// A project's keys, models and consents: as under /me (J8), for each of its managers.
#include "admind/rest/account_keys.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/projects.h"

namespace lumen::admind {

namespace {

using OnProject = Answer (*)(const Call&, const Project&);

/// Every route here is for managers.
Answer with_project(const Call& call, OnProject work) {
    std::variant<Project, Problem> opened;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        opened = open_project(call, transaction, ProjectRole::manager);
    }
    if (const auto* refused = std::get_if<Problem>(&opened)) return *refused;
    return work(call, std::get<Project>(opened));
}

Answer with_unchanged_project(const Call& call, OnProject work) {
    std::variant<Project, Problem> opened;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        opened = open_project_to_change(call, transaction, ProjectRole::manager);
    }
    if (const auto* refused = std::get_if<Problem>(&opened)) return *refused;
    return work(call, std::get<Project>(opened));
}

}  // namespace

Answer get_project_keys(const Call& call) {
    return with_project(call, [](const Call& c, const Project& project) { return list_keys(c, project.account); });
}

Answer post_project_key_draft(const Call& call) {
    return with_project(call, [](const Call& c, const Project& project) { return draft_key(c, project.account); });
}

Answer delete_project_key_draft(const Call& call) {
    return with_unchanged_project(call, [](const Call& c, const Project& project) {
        return discard_key_draft(c, project.account, c.path.at(1));
    });
}

Answer post_project_key(const Call& call) {
    return with_project(call, [](const Call& c, const Project& project) { return save_key(c, project.account); });
}

Answer patch_project_key(const Call& call) {
    return with_unchanged_project(
        call, [](const Call& c, const Project& project) { return change_key(c, project.account, c.path_id(1)); });
}

Answer delete_project_key(const Call& call) {
    return with_unchanged_project(call, [](const Call& c, const Project& project) {
        const auto key = c.path_id(1);
        if (key) {
            PgPool::Lease lease = c.services.postgres.acquire();
            pqxx::work transaction(*lease);
            audit(transaction, c, "key.delete", "account:" + std::to_string(project.account), {{"key", id_json(*key)}});
            transaction.commit();
        }
        return delete_key(c, project.account, key);
    });
}

Answer get_project_models(const Call& call) {
    return with_project(call, [](const Call& c, const Project& project) { return list_models(c, project.account); });
}

Answer post_project_consent(const Call& call) {
    return with_project(call, [](const Call& c, const Project& project) -> Answer {
        // A consent is a person's word.
        if (c.caller.kind != CallerKind::user) {
            return Problem{403, "operator_not_allowed", "This needs a person who is signed in."};
        }
        return give_consent(c, project.account);
    });
}

}  // namespace lumen::admind

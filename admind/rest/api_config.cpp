// lumen.yaml over REST: read with its secrets masked, checked, replaced, and how it stands.
#include <algorithm>

#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/request_fields.h"
#include "admind/settings/config_document.h"
#include "admind/settings/config_file.h"
#include "admind/settings/live_settings.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kMostFindings = 1000;

std::string etag_of(const std::string& text) {
    return "\"" + config_hash(text) + "\"";
}

/// Why nobody may write; null: one may.
Json read_only_reason(const Call& call) {
    if (!call.settings.app.config_editor) return "app.config_editor is false";
    if (!call.services.config->writable()) return "the file is not writable";
    return nullptr;
}

Json unknown_keys(const std::vector<Finding>& findings) {
    Json keys = Json::array();
    for (const Finding& finding : findings) {
        if (finding.reason.rfind("unknown key", 0) == 0) keys.push_back(finding.path);
    }
    return keys;
}

Json findings_json(const std::vector<Finding>& findings) {
    Json list = Json::array();
    for (const Finding& finding : findings) {
        if (list.size() == kMostFindings) break;
        list.push_back({{"severity", finding.severity == Finding::Severity::error ? "error" : "warning"},
                        {"path", finding.path},
                        {"reason", finding.reason}});
    }
    return list;
}

Answer answer_with_config(const Call& call) {
    const std::string text = call.services.config->text();
    const Json reason = read_only_reason(call);
    Answer answer(200, {{"config", masked_config(config_document(text))},
                        {"writable", reason.is_null()},
                        {"read_only_reason", reason},
                        {"unknown_keys", unknown_keys(call.services.config->status().findings)}});
    answer.headers.emplace_back("ETag", etag_of(text));
    return answer;
}

struct Proposal {
    std::optional<Problem> refusal;
    std::string yaml;
    SettingsResult result;
    Json difference;
};

/// The body's document with its secrets put back, read as a file would be.
Proposal read_proposal(const Call& call, const std::string& stored_text) {
    Proposal proposal;
    RequestFields fields(call.body);
    const Json* config = fields.object("config");
    if (config == nullptr || !config->is_object()) fields.error("config", "required", "must be an object");
    if (to_text(call.body).find("\\u0000") != std::string::npos) {
        fields.error("config", "invalid_value", "holds a zero character");
    }
    if ((proposal.refusal = fields.refusal())) return proposal;
    const Json stored = config_document(stored_text);
    Json document = *config;
    const std::vector<std::string> lost = restore_secrets(document, stored);
    if (!lost.empty()) {
        Problem problem{400, "secret_unrestorable", "A masked secret has nothing to go back to: " + lost.front() + "."};
        for (const std::string& path : lost) problem.errors.push_back({path, "secret_unrestorable", "type it anew"});
        proposal.refusal = std::move(problem);
        return proposal;
    }
    proposal.yaml = config_yaml(document);
    proposal.result = read_settings(proposal.yaml, call.services.config->environment());
    proposal.difference = config_difference(masked_config(stored), masked_config(document));
    return proposal;
}

/// 422 with every error of the file; nullopt: there is none.
std::optional<Problem> errors_of(const SettingsResult& result) {
    if (result.settings) return std::nullopt;
    Problem problem{422, "validation_failed", "The configuration has errors; see errors.", {}};
    for (const Finding& finding : result.findings) {
        if (finding.severity == Finding::Severity::error && problem.errors.size() < kMostFindings) {
            problem.errors.push_back({finding.path, "invalid_value", finding.reason});
        }
    }
    return problem;
}

bool removes_caller(const Call& call, const Settings& fresh) {
    return call.caller.kind == CallerKind::user && !fresh.is_admin(call.caller.email);
}

}  // namespace

Answer get_config(const Call& call) {
    return call.services.config == nullptr ? Answer(not_found()) : answer_with_config(call);
}

Answer put_config(const Call& call) {
    if (call.services.config == nullptr) return not_found();
    if (const Json reason = read_only_reason(call); !reason.is_null()) {
        return Problem{403, "config_read_only", "It cannot be changed here: " + reason.get<std::string>() + "."};
    }
    const std::string stored = call.services.config->text();
    if (!if_match(call.http, etag_of(stored))) return changed_meanwhile();
    Proposal proposal = read_proposal(call, stored);
    if (proposal.refusal) return Answer(std::move(*proposal.refusal));
    if (auto refused = errors_of(proposal.result)) return Answer(std::move(*refused));
    if (removes_caller(call, *proposal.result.settings)) {
        return Problem{422,
                       "validation_failed",
                       "You would no longer be an administrator.",
                       {{"admins", "removes_yourself", "must still list you"}}};
    }
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        audit(transaction, call, "config.change", "config", proposal.difference);
        call.services.config->save(proposal.yaml);
        transaction.commit();
    }
    return answer_with_config(call);
}

Answer post_config_validate(const Call& call) {
    if (call.services.config == nullptr) return not_found();
    Proposal proposal = read_proposal(call, call.services.config->text());
    if (proposal.refusal) return Answer(std::move(*proposal.refusal));
    Json restart = Json::array();
    if (proposal.result.settings) {
        for (const std::string& key : restart_keys(call.settings, *proposal.result.settings)) restart.push_back(key);
    }
    return {200,
            {{"valid", proposal.result.settings.has_value()},
             {"findings", findings_json(proposal.result.findings)},
             {"diff", std::move(proposal.difference)},
             {"restart", std::move(restart)}}};
}

Answer get_config_status(const Call& call) {
    if (call.services.config == nullptr) return not_found();
    const ConfigStatus status = call.services.config->status();
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto row = transaction.exec1(
        "select generation, file_hash, coalesce((extract(epoch from applied_at) * 1000)::bigint, 0)"
        " from config_generation");
    const auto leaders_hash = row[1].as<std::string>();
    return {200,
            {{"generation", row[0].as<std::int64_t>()},
             {"applied_at", utc_json(row[2].as<std::int64_t>())},
             {"read_at", utc_json(status.read_ms)},
             {"valid", status.valid},
             {"in_force", status.valid && leaders_hash == status.hash},
             {"findings", findings_json(status.findings)},
             {"pending", status.pending}}};
}

}  // namespace lumen::admind

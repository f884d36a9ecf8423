// Operator tokens over REST; the first one comes from the command line.
#include "admind/audit.h"
#include "admind/handlers.h"
#include "admind/operator_tokens.h"
#include "admind/request_fields.h"

namespace lumen::admind {

namespace {

Json token_json(const OperatorToken& token) {
    return {{"id", id_json(token.id)},
            {"name", token.name},
            {"scope", scope_name(token.scope)},
            {"hint", token.hint},
            {"created_by", token.created_by},
            {"created_at", utc_text(token.created_ms)},
            {"expires_at", utc_json(token.expires_ms)},
            {"revoked_at", utc_json(token.revoked_ms)},
            {"last_used_at", utc_json(token.last_used_ms)}};
}

}  // namespace

Answer get_operator_tokens(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    Json data = Json::array();
    for (const OperatorToken& token : list_operator_tokens(transaction)) data.push_back(token_json(token));
    return {200, {{"data", std::move(data)}, {"next_cursor", nullptr}, {"prev_cursor", nullptr}}};
}

Answer post_operator_token(const Call& call) {
    RequestFields fields(call.body);
    const auto name = fields.text("name", Need::required, 64);
    const auto scope = fields.word("scope", Need::required, {"read", "write", "admin"});
    const auto expires_ms = fields.future_time("expires_at", Need::optional, unix_ms_now());
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const NewOperatorToken made = create_operator_token(transaction, call.settings.app.encryption_key, *name,
                                                        *scope_of(*scope), expires_ms.value_or(0), call.caller.label());
    audit(transaction, call, "token.create", "token:" + std::to_string(made.token.id), {{"scope", *scope}});
    transaction.commit();
    Json body = token_json(made.token);
    body["token"] = made.secret;
    return {201, std::move(body)};
}

Answer delete_operator_token(const Call& call) {
    const auto id = call.path_id(0);
    // A token is only ever made and revoked, so any tag that names it is current.
    if (!id) return not_found();
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    if (!revoke_operator_token(transaction, *id)) return not_found();
    audit(transaction, call, "token.revoke", "token:" + std::to_string(*id));
    transaction.commit();
    return {204, nullptr};
}

}  // namespace lumen::admind

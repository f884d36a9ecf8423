// Operator tokens over REST; the first one comes from the command line.
#include "admind/people/operator_tokens.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/paging.h"
#include "admind/rest/request_fields.h"

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
    static const std::vector<SortColumn> columns{
        {"created_at", "id", "bigint"}, {"name", "sort_name", "text"}, {"last_used_at", "last_used_at", "timestamptz"}};
    auto page = read_page_request(call.http, columns);
    if (auto* problem = std::get_if<Problem>(&page)) return Answer(std::move(*problem));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    return {200, read_page(transaction, std::get<PageRequest>(page), operator_tokens_query(),
                           [](const pqxx::row& row) { return token_json(read_operator_token(row)); })};
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

// The signed-in person: the card of the profile page, and the whole page in one answer.
#include "admind/account_view.h"
#include "admind/api_parts.h"
#include "admind/handlers.h"

namespace lumen::admind {

namespace {

Json groups_json(pqxx::transaction_base& transaction, AccountId account) {
    Json groups = Json::array();
    // `default` is everybody's and says nothing (P10).
    for (const auto& row :
         transaction.exec_params("select g.name from memberships m join groups g on g.id = m.group_id"
                                 " where m.account_id = $1 and g.active and g.name <> 'default' order by g.name",
                                 account)) {
        groups.push_back(row[0].as<std::string>());
    }
    return groups;
}

Json favorite_model(pqxx::transaction_base& transaction, AccountId account) {
    const auto rows = transaction.exec_params(
        "select m.name from usage_quarter u join models m on m.id = u.model_id where u.account_id = $1 group by m.name"
        " having sum(u.requests) > 0"
        " order by sum(u.requests) desc, sum(u.tokens_in + u.tokens_out) desc, max(u.last_at) desc limit 1",
        account);
    return rows.empty() ? Json(nullptr) : Json(rows[0][0].as<std::string>());
}

/// Web chat is counted under the account's one hidden key (ledger.md §5).
Json chat_json(pqxx::transaction_base& transaction, AccountId account) {
    const auto rows = transaction.exec_params(
        "select coalesce(sum(t.requests), 0) requests, coalesce(sum(t.tokens_in + t.tokens_out), 0) tokens,"
        " coalesce(sum(t.spent), 0)::bigint spent,"
        " coalesce((extract(epoch from max(t.last_used_at)) * 1000)::bigint, 0) last_used_ms"
        " from api_keys k join key_totals t on t.key_id = k.id where k.account_id = $1 and k.kind = 'chat'",
        account);
    Json chat{{"conversations", 0}};
    put_use(chat, rows[0]);
    return chat;
}

/// The page's parameters are not those of its lists: those begin at their first page.
HttpRequest first_page() {
    HttpRequest request;
    request.query.emplace_back("limit", "200");
    return request;
}

}  // namespace

Json me_json(const Call& call, pqxx::transaction_base& transaction, std::int64_t user, AccountId account) {
    const auto person = transaction.exec_params1("select name, email from users where id = $1", user);
    const auto totals = transaction.exec_params(
        "select spent, tokens_in, tokens_out from account_balances where account_id = $1", account);
    const bool known = !totals.empty();
    const auto in = known ? totals[0]["tokens_in"].as<std::int64_t>() : 0;
    const auto out = known ? totals[0]["tokens_out"].as<std::int64_t>() : 0;
    return {{"id", id_json(user)},
            {"name", person[0].as<std::string>()},
            {"email", person[1].as<std::string>()},
            {"avatar_url", nullptr},
            {"groups", groups_json(transaction, account)},
            {"coins_used", coins_json(NanoCoins(known ? totals[0]["spent"].as<std::int64_t>() : 0))},
            {"tokens_used", {{"input", in}, {"output", out}, {"total", in + out}}},
            {"favorite_model", favorite_model(transaction, account)},
            {"budget", read_budget_json(call.services, transaction, call.settings, account)},
            {"chat", chat_json(transaction, account)},
            {"now", utc_text(unix_ms_now())}};
}

Answer get_me(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    return {200, me_json(call, transaction, call.caller.user, call.caller.account)};
}

Answer get_profile(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const HttpRequest first = first_page();
    const AccountId account = call.caller.account;
    auto keys = keys_page(call, transaction, account, Deleted::hidden, first);
    auto models = models_page(call, transaction, account, Disabled::hidden, first);
    return {200,
            {{"site", site_json(call.settings)},
             {"session", session_json(call)},
             {"me", me_json(call, transaction, call.caller.user, account)},
             {"keys", std::get<Json>(std::move(keys))},
             {"models", std::get<Json>(std::move(models))}}};
}

}  // namespace lumen::admind

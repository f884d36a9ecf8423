// The signed-in person: the card of the profile page, and the whole page in one answer.
#include "admind/bounds.h"
#include "admind/people/account_view.h"
#include "admind/people/avatar.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/handlers.h"
#include "admind/rest/request_fields.h"
#include "admind/stores/pg_statement.h"
#include "admind/stores/pg_values.h"

namespace lumen::admind {

namespace {

/// The person and all that is counted of the account, as a page needs it at once. `default` is everybody's group and
/// says nothing (P10); web chat is counted under the account's one hidden key (ledger.md §5).
constexpr Statement kCard{
    "card",
    "select u.name, u.email, coalesce(u.avatar, '') avatar, u.notice_mail, u.notice_webhook,"
    " coalesce(b.spent, 0) coins_used, coalesce(b.tokens_in, 0) tokens_in, coalesce(b.tokens_out, 0) tokens_out,"
    " to_jsonb(array(select g.name from memberships m join groups g on g.id = m.group_id"
    " where m.account_id = $2 and g.active and g.name <> 'default' order by g.name)) group_names,"
    " (select m.name from model_totals t join models m on m.id = t.model_id where t.account_id = $2 group by m.name"
    " having sum(t.requests) > 0 order by sum(t.requests) desc, sum(t.tokens_in + t.tokens_out) desc,"
    " max(t.last_used_at) desc, m.name limit 1) favorite,"
    " coalesce(past.conversations, 0) conversations,"
    " chat.requests, chat.tokens, chat.spent, chat.last_used_ms"
    " from users u left join account_balances b on b.account_id = $2"
    " left join account_conversations past on past.account_id = $2"
    " cross join (select coalesce(sum(t.requests), 0) requests, coalesce(sum(t.tokens_in + t.tokens_out), 0) tokens,"
    " coalesce(sum(t.spent), 0)::bigint spent,"
    " coalesce((extract(epoch from max(t.last_used_at)) * 1000)::bigint, 0) last_used_ms"
    " from api_keys k join key_totals t on t.key_id = k.id where k.account_id = $2 and k.kind = 'chat') chat"
    " where u.id = $1"};

Json chat_json(const pqxx::row& card) {
    Json chat{{"conversations", card["conversations"].as<std::int64_t>()}};
    put_use(chat, card);
    return chat;
}

/// All of a list, page after page: the profile shows every key, and there are at most a thousand. `page` answers a
/// request for one page of it.
template <typename Page>
Json whole_list(const Page& page) {
    HttpRequest request;
    request.query.emplace_back("limit", std::to_string(kLargestPage));
    Json whole = std::get<Json>(page(request));
    for (std::size_t pages = 1; !whole["next_cursor"].is_null() && pages < kMaxProfilePages; ++pages) {
        request.query.resize(1);
        request.query.emplace_back("cursor", whole["next_cursor"].get<std::string>());
        Json next = std::get<Json>(page(request));
        for (Json& row : next["data"]) whole["data"].push_back(std::move(row));
        whole["next_cursor"] = std::move(next["next_cursor"]);
    }
    return whole;
}

std::string avatar_address(const std::string& kind, const std::string& name, const std::string& email) {
    // Another name or kind is another picture, and so another address.
    return "/api/v1/me/avatar?v=" + kind + "-" + gravatar_hash(email + " " + name).substr(0, 12);
}

/// What the person wants, and what the site can do.
Json notices_json(const NoticeSettings& site, bool mail, bool webhook) {
    return {{"mail", mail},
            {"webhook", webhook},
            {"offers_mail", !site.mail.host.empty()},
            {"offers_webhook", !site.webhook_url.empty()},
            {"low_balance_percent", site.low_balance_percent}};
}

}  // namespace

Json me_json(const Call& call, pqxx::transaction_base& transaction, std::int64_t user, AccountId account,
             const RulesOfAccount& rules) {
    const auto card = exec_prepared1(transaction, kCard, user, account);
    const auto name = card["name"].as<std::string>();
    const auto email = card["email"].as<std::string>();
    const AvatarChoice avatar = avatar_choice(call.settings, card["avatar"].as<std::string>());
    const Wallet wallet = read_wallet(transaction, account).value();
    const LiveBalance amounts = balance_of(call.services.redis, wallet);
    const std::string source = resolve_budget_of(rules.book, rules.own).source;
    const auto in = card["tokens_in"].as<std::int64_t>();
    const auto out = card["tokens_out"].as<std::int64_t>();
    return {{"id", id_json(user)},
            {"name", name},
            {"email", email},
            {"avatar", avatar.kind},
            {"avatar_choice", avatar.may_change},
            {"avatar_url", avatar_address(avatar.kind, name, email)},
            {"notices",
             notices_json(call.settings.notices, card["notice_mail"].as<bool>(), card["notice_webhook"].as<bool>())},
            {"groups", read_texts(card["group_names"])},
            {"coins_used", coins_json(NanoCoins(card["coins_used"].as<std::int64_t>()))},
            {"tokens_used", {{"input", in}, {"output", out}, {"total", in + out}}},
            {"favorite_model", card["favorite"].is_null() ? Json(nullptr) : Json(card["favorite"].as<std::string>())},
            {"budget", budget_json(wallet, amounts, source, unix_ms_now())},
            {"forecast", forecast_json(transaction, wallet, amounts)},
            {"chat", chat_json(card)},
            {"now", utc_text(unix_ms_now())}};
}

Answer get_me(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const RulesOfAccount rules = read_rules_of(transaction, call.settings, call.caller.account);
    return {200, me_json(call, transaction, call.caller.user, call.caller.account, rules)};
}

Answer patch_me(const Call& call) {
    RequestFields fields(call.body);
    const auto avatar = fields.word("avatar", Need::optional, {"gravatar", "initials"});
    std::optional<bool> mail;
    std::optional<bool> webhook;
    if (const Json* wanted = fields.object("notices")) {
        RequestFields notices(*wanted);
        mail = notices.boolean("mail", Need::optional);
        webhook = notices.boolean("webhook", Need::optional);
        fields.take_errors("notices", notices);
    }
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    transaction.exec_params0(
        "update users set avatar = coalesce(nullif($2, ''), avatar),"
        " notice_mail = coalesce(nullif($3, '')::boolean, notice_mail),"
        " notice_webhook = coalesce(nullif($4, '')::boolean, notice_webhook) where id = $1",
        call.caller.user, avatar.value_or(""), sql_optional(mail), sql_optional(webhook));
    const RulesOfAccount rules = read_rules_of(transaction, call.settings, call.caller.account);
    Json me = me_json(call, transaction, call.caller.user, call.caller.account, rules);
    transaction.commit();
    return {200, std::move(me)};
}

Answer get_profile(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    // One moment of the book for the whole page: keys, models and totals add up (P25), also while it is written.
    pqxx::transaction<pqxx::isolation_level::repeatable_read> transaction(*lease);
    const AccountId account = call.caller.account;
    Json keys = whole_list(
        [&](const HttpRequest& request) { return keys_page(call, transaction, account, Deleted::hidden, request); });
    const RulesOfAccount rules = read_rules_of(transaction, call.settings, account);
    Json models = all_models_page(call, transaction, account, rules);
    return {200,
            {{"site", site_json(call.settings, call.caller.email)},
             {"session", session_json(call)},
             {"me", me_json(call, transaction, call.caller.user, account, rules)},
             {"keys", std::move(keys)},
             {"models", std::move(models)}}};
}

}  // namespace lumen::admind

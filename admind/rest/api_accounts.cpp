// One account, for administrators: budget and rules, limits of its own, grants and resets.
#include "admind/people/account_setup.h"
#include "admind/people/account_view.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/idempotency.h"
#include "admind/rest/request_fields.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestReason = 500;

/// Limits of the account's own; null: they are inherited.
Json own_limits_json(pqxx::transaction_base& transaction, AccountId account) {
    const auto rows = transaction.exec_params(
        "select max_nano, refresh_nano, starting_nano, limits_from from account_rules"
        " where account_id = $1 and max_nano is not null and limits_from is not null",
        account);
    if (rows.empty()) return nullptr;
    const auto max = rows[0][0].as<std::int64_t>();
    return {{"max", format_coins(NanoCoins(max == -2 ? -2'000'000'000 : max))},
            {"refresh", format_coins(NanoCoins(rows[0][1].as<std::int64_t>(0)))},
            {"starting", format_coins(NanoCoins(rows[0][2].as<std::int64_t>(0)))},
            {"from", rows[0][3].as<std::string>()}};
}

Json own_access_json(pqxx::transaction_base& transaction, AccountId account) {
    Json access{{"default", nullptr}, {"allowed", Json::array()}, {"blocked", Json::array()}, {"from", nullptr}};
    const auto rows = transaction.exec_params(
        "select access_from, access_default, to_jsonb(allowed)::text, to_jsonb(blocked)::text from account_rules"
        " where account_id = $1",
        account);
    if (rows.empty()) return access;
    const auto& row = rows[0];
    if (!row[0].is_null()) access["from"] = row[0].as<std::string>();
    if (!row[1].is_null()) access["default"] = row[1].as<int>() == 1 ? "allowed" : "blocked";
    access["allowed"] = parse_json(row[2].c_str()).value_or(Json::array());
    access["blocked"] = parse_json(row[3].c_str()).value_or(Json::array());
    return access;
}

Json account_json(const Call& call, pqxx::transaction_base& transaction, const Wallet& wallet) {
    const auto rows = transaction.exec_params(
        "select a.owner, coalesce(u.name, p.name, '') as name, coalesce(u.id, 0) as user_id from accounts a"
        " left join users u on u.account_id = a.id left join projects p on p.account_id = a.id where a.id = $1",
        wallet.account);
    Json groups = Json::array();
    for (const auto& row : transaction.exec_params("select g.name, m.via, g.active from memberships m"
                                                   " join groups g on g.id = m.group_id where m.account_id = $1"
                                                   " order by g.name",
                                                   wallet.account)) {
        groups.push_back(
            {{"name", row[0].as<std::string>()}, {"via", row[1].as<std::string>()}, {"active", row[2].as<bool>()}});
    }
    return {{"id", id_json(wallet.account)},
            {"type", rows[0][0].as<std::string>()},
            {"name", rows[0][1].as<std::string>()},
            {"user", rows[0][2].as<std::int64_t>() > 0 ? id_json(rows[0][2].as<std::int64_t>()) : Json(nullptr)},
            {"active", wallet.active},
            {"mode", wallet.strict ? "strict" : "soft"},
            {"budget", read_budget_json(call.services, transaction, call.settings, wallet.account)},
            {"limits", own_limits_json(transaction, wallet.account)},
            {"groups", std::move(groups)},
            {"rules", own_access_json(transaction, wallet.account)}};
}

Answer answer_with_account(const Call& call, AccountId account) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto wallet = read_wallet(transaction, account);
    if (!wallet) return not_found();
    Answer answer(200, account_json(call, transaction, *wallet));
    answer.headers.emplace_back("ETag", account_etag(*wallet));
    return answer;
}

/// What must hold before an account's own limits are changed.
std::optional<Problem> check_limits_change(const Call& call, pqxx::transaction_base& transaction, AccountId account) {
    const auto wallet = read_wallet(transaction, account);
    if (!wallet) return not_found();
    if (!if_match(call.http, account_etag(*wallet))) return changed_meanwhile();
    const auto rules = transaction.exec_params("select limits_from from account_rules where account_id = $1", account);
    if (!rules.empty() && rules[0][0].as<std::string>("") == "config") {
        return Problem{409, "managed_by_config", "lumen.yaml states the limits of this account."};
    }
    return std::nullopt;
}

}  // namespace

Answer get_account(const Call& call) {
    const auto account = call.path_id(0);
    return account ? answer_with_account(call, *account) : Answer(not_found());
}

Answer put_limits(const Call& call) {
    const auto account = call.path_id(0);
    if (!account) return not_found();
    RequestFields fields(call.body);
    const auto max = fields.coins("max", Need::required, RequestFields::Sign::any);
    const auto refresh = fields.coins("refresh", Need::optional);
    const auto starting = fields.coins("starting", Need::optional);
    const auto mode = fields.word("mode", Need::optional, {"soft", "strict"});
    constexpr NanoCoins kUnlimited{-2'000'000'000};
    if (max && *max < NanoCoins(0) && *max != kUnlimited) {
        fields.error("max", "out_of_range", "must be -2, 0 or positive");
    }
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    const std::int64_t max_nano = *max == kUnlimited ? -2 : max->nano();
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        if (auto refused = check_limits_change(call, transaction, *account)) return Answer(std::move(*refused));
        const NanoCoins refresh_or_default = refresh.value_or(call.settings.default_budget.refresh);
        const NanoCoins starting_or_max = starting.value_or(NanoCoins(max_nano > 0 ? max_nano : 0));
        const Json before = own_limits_json(transaction, *account);
        transaction.exec_params0(
            "insert into account_rules (account_id, limits_from, max_nano, refresh_nano, starting_nano, strict)"
            " values ($1, 'admin', $2, $3, $4, nullif($5, '')::boolean)"
            " on conflict (account_id) do update set limits_from = 'admin', max_nano = excluded.max_nano,"
            " refresh_nano = excluded.refresh_nano, starting_nano = excluded.starting_nano, strict = excluded.strict",
            *account, max_nano, refresh_or_default.nano(), starting_or_max.nano(),
            mode ? std::string(*mode == "strict" ? "true" : "false") : std::string());
        audit(transaction, call, "account.limits", "account:" + std::to_string(*account), call.body, before);
        transaction.commit();
    }
    if (settle_account_rules(call.services, call.settings, *account) == InForce::not_yet) return not_yet_in_force();
    return answer_with_account(call, *account);
}

Answer delete_limits(const Call& call) {
    const auto account = call.path_id(0);
    if (!account) return not_found();
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        if (auto refused = check_limits_change(call, transaction, *account)) return Answer(std::move(*refused));
        const Json before = own_limits_json(transaction, *account);
        transaction.exec_params0(
            "update account_rules set limits_from = null, max_nano = null, refresh_nano = null,"
            " starting_nano = null, strict = null where account_id = $1",
            *account);
        audit(transaction, call, "account.limits", "account:" + std::to_string(*account), {{"inherit", true}}, before);
        transaction.commit();
    }
    if (settle_account_rules(call.services, call.settings, *account) == InForce::not_yet) return not_yet_in_force();
    return {204, nullptr};
}

// ---- money

namespace {

/// Coins mean nothing to an account without a limit above zero.
std::optional<Problem> check_has_limit(const Wallet& wallet) {
    if (wallet.unlimited) return Problem{409, "unlimited", "This account is unlimited; coins would change nothing."};
    if (!wallet.limit) return Problem{409, "no_budget", "This account has no budget. Set its limits first."};
    if (*wallet.limit == NanoCoins(0)) return Problem{409, "limit_is_zero", "This account is blocked by a limit of 0."};
    return std::nullopt;
}

Answer answer_with_money(const MoneyOutcome& outcome, const MoneyRequest& request, const char* kind) {
    switch (outcome.result) {
        case MoneyResult::no_account:
            return not_found();
        case MoneyResult::key_reused:
            return Problem{422, "idempotency_key_reused", "This Idempotency-Key moved other coins."};
        case MoneyResult::out_of_range:
            return Problem{422,
                           "validation_failed",
                           "The balance would pass 4 million coins.",
                           {{"coins", "out_of_range", "the balance would pass 4000000"}}};
        case MoneyResult::recorded:
            return not_yet_in_force();
        case MoneyResult::done:
            break;
    }
    const NanoCoins moved(outcome.after.nano() - outcome.before.nano());
    return {200,
            {{"entry",
              {{"op", id_json(outcome.opn)},
               {"account", id_json(request.account)},
               {"kind", kind},
               {"amount", coins_json(moved)},
               {"balance_after", coins_json(outcome.after)},
               {"actor", request.actor},
               {"reason", request.reason}}},
             {"before", coins_json(outcome.before)},
             {"after", coins_json(outcome.after)}}};
}

MoneyRequest money_request(const Call& call, AccountId account, const char* what, std::string reason) {
    MoneyRequest request;
    request.account = account;
    request.idem_key = money_key(call.caller.label(), std::string(what) + " " + std::to_string(account), call.http);
    request.actor = call.caller.label();
    request.reason = std::move(reason);
    return request;
}

}  // namespace

Answer post_grant(const Call& call) {
    const auto account = call.path_id(0);
    if (!account) return not_found();
    RequestFields fields(call.body);
    const auto coins = fields.coins("coins", Need::required, RequestFields::Sign::any);
    const auto reason = fields.text("reason", Need::required, kLongestReason);
    if (coins && *coins == NanoCoins(0)) fields.error("coins", "out_of_range", "must not be 0");
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto wallet = read_wallet(transaction, *account);
        if (!wallet) return not_found();
        if (auto refused = check_has_limit(*wallet)) return Answer(std::move(*refused));
        audit(transaction, call, "account.grant", "account:" + std::to_string(*account), call.body);
        transaction.commit();
    }
    MoneyRequest request = money_request(call, *account, "grant", *reason);
    request.kind = MoneyOpKind::add;
    request.amount = *coins;
    return answer_with_money(call.services.ledger.move_money(request), request, "grant");
}

Answer post_reset(const Call& call) {
    const auto account = call.path_id(0);
    if (!account) return not_found();
    RequestFields fields(call.body);
    const auto reason = fields.text("reason", Need::required, kLongestReason);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));
    NanoCoins starting;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto wallet = read_wallet(transaction, *account);
        if (!wallet) return not_found();
        if (auto refused = check_has_limit(*wallet)) return Answer(std::move(*refused));
        const RulesOfAccount rules = read_rules_of(transaction, call.settings, *account);
        starting = resolve_budget_of(rules.book, rules.own).starting;
        audit(transaction, call, "account.reset", "account:" + std::to_string(*account), call.body);
        transaction.commit();
    }
    MoneyRequest request = money_request(call, *account, "reset", *reason);
    request.kind = MoneyOpKind::set;
    request.amount = starting;
    return answer_with_money(call.services.ledger.move_money(request), request, "adjust");
}

}  // namespace lumen::admind

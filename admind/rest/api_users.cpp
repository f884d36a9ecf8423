// Users, for administrators: list, create, look at, deactivate.
#include "admind/people/account_setup.h"
#include "admind/people/account_view.h"
#include "admind/people/sessions.h"
#include "admind/rest/api_parts.h"
#include "admind/rest/audit.h"
#include "admind/rest/handlers.h"
#include "admind/rest/request_fields.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestPersonName = 200;
constexpr std::size_t kMostGroups = 50;
constexpr std::size_t kLongestGroupName = 64;

const std::vector<SortColumn>& user_columns() {
    static const std::vector<SortColumn> columns{{"name", "sort_name", "text"},
                                                 {"email", "email", "text"},
                                                 {"joined_at", "joined_at", "timestamptz"},
                                                 {"coins", "spent", "bigint"},
                                                 {"requests", "requests", "bigint"},
                                                 {"tokens", "tokens", "bigint"},
                                                 {"last_used_at", "last_used_at", "timestamptz"}};
    return columns;
}

constexpr const char* kUserQuery =
    "select u.id, u.account_id, u.name, lower(u.name) sort_name, u.email, u.active, u.joined_at,"
    " (extract(epoch from u.joined_at) * 1000)::bigint joined_ms, a.lim, a.rate, a.unlimited, a.mode, a.cfg_ver,"
    " coalesce(b.balance, 0) balance, coalesce(b.spent, 0) spent, coalesce(b.requests, 0) requests,"
    " coalesce(b.tokens_in + b.tokens_out, 0) tokens, b.last_used_at,"
    " coalesce((extract(epoch from b.last_used_at) * 1000)::bigint, 0) last_used_ms"
    " from users u join accounts a on a.id = u.account_id left join account_balances b on b.account_id = a.id";

Wallet wallet_of(const pqxx::row& row) {
    Wallet wallet;
    wallet.account = row["account_id"].as<AccountId>();
    if (!row["lim"].is_null()) wallet.limit = NanoCoins(row["lim"].as<std::int64_t>());
    wallet.rate = NanoCoins(row["rate"].as<std::int64_t>());
    wallet.unlimited = row["unlimited"].as<bool>();
    wallet.strict = row["mode"].as<int>() == 1;
    wallet.config_version = row["cfg_ver"].as<std::int64_t>();
    wallet.book_balance = NanoCoins(row["balance"].as<std::int64_t>());
    return wallet;
}

Json user_json(const pqxx::row& row) {
    Json user{{"id", id_json(row["id"].as<std::int64_t>())},
              {"account", id_json(row["account_id"].as<AccountId>())},
              {"name", row["name"].as<std::string>()},
              {"email", row["email"].as<std::string>()},
              {"joined_at", utc_text(row["joined_ms"].as<std::int64_t>())},
              {"active", row["active"].as<bool>()}};
    put_use(user, row);
    return user;
}

struct UserRow {
    std::int64_t id = 0;
    AccountId account = 0;
    bool active = true;
};
std::optional<UserRow> read_user(pqxx::transaction_base& transaction, std::optional<std::int64_t> id) {
    if (!id) return std::nullopt;
    const auto rows = transaction.exec_params("select account_id, active from users where id = $1", *id);
    if (rows.empty()) return std::nullopt;
    return UserRow{*id, rows[0][0].as<AccountId>(), rows[0][1].as<bool>()};
}

Json read_user_json(const Call& call, pqxx::transaction_base& transaction, std::int64_t id) {
    const auto row = transaction.exec_params1(std::string(kUserQuery) + " where u.id = $1", id);
    Json user = user_json(row);
    user["budget"] = read_budget_json(call.services, transaction, call.settings, row["account_id"].as<AccountId>());
    return user;
}

}  // namespace

Answer get_users(const Call& call) {
    auto page = read_page_request(call.http, user_columns());
    if (auto* problem = std::get_if<Problem>(&page)) return Answer(std::move(*problem));
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    std::string query = kUserQuery;
    std::string where = " where true";
    if (const auto wanted = call.http.query_value("q"); wanted && !wanted->empty()) {
        const std::string text = transaction.quote(*wanted);
        where +=
            " and (position(lower(" + text + ") in lower(u.name)) > 0 or position(lower(" + text + ") in u.email) > 0)";
    }
    if (const auto active = call.http.query_value("active")) {
        if (*active != "true" && *active != "false") {
            return Problem{400, "invalid_request", "active must be true or false."};
        }
        where += *active == "true" ? " and u.active" : " and not u.active";
    }
    std::vector<Wallet> wallets;
    Json list = read_page(transaction, std::get<PageRequest>(page), query + where, [&](const pqxx::row& row) {
        wallets.push_back(wallet_of(row));
        return user_json(row);
    });
    std::vector<AccountId> accounts;
    for (const Wallet& wallet : wallets) accounts.push_back(wallet.account);
    const auto live = live_balances(call.services.redis, accounts);
    const std::int64_t now_ms = unix_ms_now();
    for (std::size_t i = 0; i < wallets.size(); ++i) {
        const auto found = live.find(wallets[i].account);
        const LiveBalance amounts =
            found == live.end() ? LiveBalance{wallets[i].book_balance, {}, false} : found->second;
        list["data"][i]["budget"] = budget_json(wallets[i], amounts, "", now_ms);
    }
    return {200, std::move(list)};
}

Answer post_user(const Call& call) {
    RequestFields fields(call.body);
    const auto email = fields.email("email", Need::required);
    const auto name = fields.text("name", Need::required, kLongestPersonName);
    const auto groups = fields.texts("groups", kMostGroups, kLongestGroupName);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    const NewUserResult made = create_user(
        call.services, call.settings, *email, *name, groups,
        [&](pqxx::transaction_base& transaction, const NewUser& user) {
            audit(transaction, call, "user.create", "user:" + std::to_string(user.user), {{"email", *email}});
        });
    using Refusal = NewUserResult::Refusal;
    if (made.refusal == Refusal::email_taken) return Problem{409, "email_taken", "There is a user with this address."};
    if (made.refusal == Refusal::unknown_group) {
        fields.error("groups", "unknown_group", "there is no group `" + made.group + "`");
        return Answer(*fields.refusal());
    }
    if (made.in_force == InForce::not_yet) return not_yet_in_force();
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    return {201, read_user_json(call, transaction, made.user->user)};
}

Answer get_user(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto user = read_user(transaction, call.path_id(0));
    if (!user) return not_found();
    HttpRequest first;
    first.query.emplace_back("limit", "200");
    const RulesOfAccount rules = read_rules_of(transaction, call.settings, user->account);
    Json body = me_json(call, transaction, user->id, user->account, rules);
    body["account"] = id_json(user->account);
    body["active"] = user->active;
    body["keys"] = std::get<Json>(keys_page(call, transaction, user->account, Deleted::shown, first));
    body["models"] = std::get<Json>(models_page(call, transaction, user->account, Disabled::shown, first));
    Answer answer(200, std::move(body));
    answer.headers.emplace_back("ETag", account_etag(*read_wallet(transaction, user->account)));
    return answer;
}

Answer patch_user(const Call& call) {
    RequestFields fields(call.body);
    const auto active = fields.boolean("active", Need::required);
    if (auto refused = fields.refusal()) return Answer(std::move(*refused));

    std::optional<UserRow> user;
    {
        PgPool::Lease lease = call.services.postgres.acquire();
        pqxx::work transaction(*lease);
        user = read_user(transaction, call.path_id(0));
        if (!user) return not_found();
        if (!if_match(call.http, account_etag(*read_wallet(transaction, user->account)))) return changed_meanwhile();
        if (!*active && call.caller.kind == CallerKind::user && call.caller.user == user->id) {
            return Problem{409, "cannot_deactivate_self", "Another administrator must do this."};
        }
        // Keys stop with the account's state, sessions with the user's, in one transaction.
        set_user_active(transaction, user->id, user->account, *active);
        audit(transaction, call, *active ? "user.activate" : "user.deactivate", "user:" + std::to_string(user->id),
              {{"active", *active}}, {{"active", user->active}});
        transaction.commit();
    }
    if (call.services.ledger.enforce_account(user->account) == InForce::not_yet) return not_yet_in_force();
    if (!*active) {
        RedisPool::Lease redis = call.services.redis.acquire();
        end_sessions_of(*redis, user->id, user->account, unix_ms_now());
    }
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    Answer answer(200, read_user_json(call, transaction, user->id));
    answer.headers.emplace_back("ETag", account_etag(*read_wallet(transaction, user->account)));
    return answer;
}

}  // namespace lumen::admind

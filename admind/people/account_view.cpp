#include "admind/people/account_view.h"

#include "admind/stores/pg_statement.h"
#include "lumen_core/account_bucket.h"

namespace lumen::admind {

namespace {

constexpr std::int64_t kRefillMs = 3'600'000;  // wallets are refilled on the hour

constexpr Statement kWallet{
    "wallet",
    "select a.lim, a.rate, a.unlimited, a.mode, a.state, a.cfg_ver, coalesce(b.balance, 0) balance"
    " from accounts a left join account_balances b on b.account_id = a.id where a.id = $1"};

}  // namespace

std::optional<Wallet> read_wallet(pqxx::transaction_base& transaction, AccountId account) {
    const auto rows = exec_prepared(transaction, kWallet, account);
    if (rows.empty()) return std::nullopt;
    const auto& row = rows[0];
    Wallet wallet;
    wallet.account = account;
    if (!row["lim"].is_null()) wallet.limit = NanoCoins(row["lim"].as<std::int64_t>());
    wallet.rate = NanoCoins(row["rate"].as<std::int64_t>());
    wallet.unlimited = row["unlimited"].as<bool>();
    wallet.strict = row["mode"].as<int>() == 1;
    wallet.active = row["state"].as<int>() == 1;
    wallet.config_version = row["cfg_ver"].as<std::int64_t>();
    wallet.book_balance = NanoCoins(row["balance"].as<std::int64_t>());
    return wallet;
}

std::unordered_map<AccountId, LiveBalance> live_balances(RedisPool& pool, const std::vector<AccountId>& accounts) {
    std::unordered_map<AccountId, LiveBalance> balances;
    try {
        RedisPool::Lease redis = pool.acquire();
        for (const AccountId account : accounts) redis->append({"HMGET", account_key(account), "bal", "held", "nh"});
        for (const AccountId account : accounts) {
            const RedisReply reply = redis->next();
            if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) continue;
            const auto balance = parse_nano(reply_text(reply->element[0]));
            const auto held = parse_nano(reply_text(reply->element[1]));
            const std::int64_t running = parse_id(reply_text(reply->element[2])).value_or(0);
            if (balance && held) balances[account] = {*balance, *held, true, running};
        }
    } catch (const RedisUnavailable&) {
        // The book's numbers stand in: pages work while Redis is away.
    }
    return balances;
}

LiveBalance balance_of(RedisPool& redis, const Wallet& wallet) {
    const auto live = live_balances(redis, {wallet.account});
    const auto found = live.find(wallet.account);
    return found == live.end() ? LiveBalance{wallet.book_balance, {}, false} : found->second;
}

Json budget_json(const Wallet& wallet, const LiveBalance& amounts, const std::string& source, std::int64_t now_ms) {
    constexpr NanoCoins kNothing;
    const bool blocked = wallet.limit && *wallet.limit == kNothing;
    const char* state = wallet.unlimited ? "unlimited" : !wallet.limit ? "none" : blocked ? "blocked" : "limited";
    const bool counts = !wallet.unlimited && wallet.limit.has_value();
    const bool refills = counts && !blocked && wallet.rate > kNothing;
    const auto shown = [&](NanoCoins amount) { return counts ? coins_json(amount) : Json(nullptr); };
    // |balance| and held are at most M, so their difference fits.
    const NanoCoins free(amounts.balance.nano() - amounts.held.nano());
    return {{"state", state},
            {"limit", counts ? coins_json(*wallet.limit) : Json(nullptr)},
            {"balance", shown(amounts.balance)},
            {"held", shown(amounts.held)},
            {"free", shown(free)},
            {"available", shown(amounts.balance)},
            {"running", counts ? amounts.running : 0},
            {"refill_per_hour", refills ? coins_json(wallet.rate) : Json(nullptr)},
            {"next_refill_at", refills ? Json(utc_text((now_ms / kRefillMs + 1) * kRefillMs)) : Json(nullptr)},
            {"source", source.empty() ? Json(nullptr) : Json(source)}};
}

Json read_budget_json(const Services& services, pqxx::transaction_base& transaction, const Settings& settings,
                      AccountId account) {
    const auto wallet = read_wallet(transaction, account);
    if (!wallet) return nullptr;
    const RulesOfAccount rules = read_rules_of(transaction, settings, account);
    return budget_json(*wallet, balance_of(services.redis, *wallet), resolve_budget_of(rules.book, rules.own).source,
                       unix_ms_now());
}

std::string account_etag(const Wallet& wallet) {
    return "\"" + std::to_string(wallet.account) + "-" + std::to_string(wallet.config_version) + "\"";
}

void put_use(Json& to, const pqxx::row& row) {
    to["requests"] = row["requests"].as<std::int64_t>(0);
    to["tokens"] = row["tokens"].as<std::int64_t>(0);
    to["coins"] = coins_json(NanoCoins(row["spent"].as<std::int64_t>(0)));
    to["last_used_at"] = utc_json(row["last_used_ms"].as<std::int64_t>(0));
}

}  // namespace lumen::admind

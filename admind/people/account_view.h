// Accounts as REST shows them: budget (spec/rest.md §3), counters (§7), limits and tags.
#pragma once

#include <pqxx/pqxx>
#include <string>
#include <unordered_map>
#include <vector>

#include "admind/people/account_rules.h"
#include "admind/services.h"
#include "admind/text/json.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

/// The wallet's configuration as the book has it.
struct Wallet {
    AccountId account = 0;
    std::optional<NanoCoins> limit;
    NanoCoins rate;
    bool unlimited = false;
    bool strict = false;
    bool active = true;
    std::int64_t config_version = 0;
    NanoCoins book_balance;  ///< as of the last drain
};
std::optional<Wallet> read_wallet(pqxx::transaction_base& transaction, AccountId account);

/// Live amounts, or the book's while Redis is away.
struct LiveBalance {
    NanoCoins balance;
    NanoCoins held;
    bool live = false;
    std::int64_t running = 0;  ///< requests that hold
};
/// One round trip for all of them.
std::unordered_map<AccountId, LiveBalance> live_balances(RedisPool& redis, const std::vector<AccountId>& accounts);

/// Of one account; the book's while Redis is away.
LiveBalance balance_of(RedisPool& redis, const Wallet& wallet);

/// {state, limit, balance, held, free, available, running, refill_per_hour, next_refill_at, source}
Json budget_json(const Wallet& wallet, const LiveBalance& amounts, const std::string& source, std::int64_t now_ms);
/// The same for one account, all of it read now.
Json read_budget_json(const Services& services, pqxx::transaction_base& transaction, const Settings& settings,
                      AccountId account);

/// {state, burn_per_hour, refill_per_hour, runs_out_at, window_hours, window_coins}: spec/ui.md F4, F5.
Json forecast_json(pqxx::transaction_base& transaction, const Wallet& wallet, const LiveBalance& amounts);

/// `"ACC-VERSION"`: changes with whatever an administrator can change about an account.
std::string account_etag(const Wallet& wallet);

/// requests, tokens, coins, last_used_at: the four of `Use`, put into `to`. Columns requests, tokens, spent,
/// last_used_ms.
void put_use(Json& to, const pqxx::row& row);

}  // namespace lumen::admind

// How long the coins last: what the book says of the last day and week, put to the forecast.
#include "admind/people/forecast.h"

#include "admind/people/account_view.h"
#include "admind/rest/handlers.h"

namespace lumen::admind {

namespace {

struct Windows {
    UseWindow day;
    UseWindow week;
};

Windows read_windows(pqxx::transaction_base& transaction, AccountId account) {
    const auto row = transaction.exec_params1(
        "select coalesce(sum(cost) filter (where slot > now() - interval '24 hours'), 0)::bigint day_cost,"
        " coalesce(sum(requests) filter (where slot > now() - interval '24 hours'), 0)::bigint day_requests,"
        " coalesce(extract(epoch from min(slot) filter (where slot > now() - interval '24 hours')) * 1000, 0)::bigint"
        " day_first, coalesce(sum(cost), 0)::bigint week_cost, coalesce(sum(requests), 0)::bigint week_requests,"
        " coalesce(extract(epoch from min(slot)) * 1000, 0)::bigint week_first"
        " from usage_quarter where account_id = $1 and slot > now() - interval '7 days'",
        account);
    const auto window = [&](std::int64_t hours, const std::string& name) {
        return UseWindow{hours, NanoCoins(row[name + "_cost"].as<std::int64_t>()),
                         row[name + "_requests"].as<std::int64_t>(), row[name + "_first"].as<std::int64_t>()};
    };
    return {window(24, "day"), window(7 * 24, "week")};
}

}  // namespace

Json forecast_json(pqxx::transaction_base& transaction, const Services& services, AccountId account) {
    const auto wallet = read_wallet(transaction, account);
    if (!wallet) return nullptr;
    const Windows windows = read_windows(transaction, account);
    ForecastQuestion question;
    question.limited = !wallet->unlimited && wallet->limit.has_value();
    const auto live = live_balances(services.redis, {account});
    const auto found = live.find(account);
    question.balance = found == live.end() ? wallet->book_balance : found->second.balance;
    // An account that is blocked is not refilled.
    if (wallet->limit && *wallet->limit > NanoCoins()) question.refill_per_hour = wallet->rate;
    question.now_ms = unix_ms_now();
    question.day = windows.day;
    question.week = windows.week;
    const Forecast result = forecast(question);
    return {{"state", outlook_name(result.outlook)},
            {"burn_per_hour", coins_json(result.burn_per_hour)},
            {"refill_per_hour", question.limited ? coins_json(question.refill_per_hour) : Json(nullptr)},
            {"runs_out_at", utc_json(result.runs_out_ms)},
            {"window_hours", result.window.hours},
            {"window_coins", coins_json(result.window.spent)}};
}

Answer get_forecast(const Call& call) {
    PgPool::Lease lease = call.services.postgres.acquire();
    pqxx::work transaction(*lease);
    return {200, forecast_json(transaction, call.services, call.caller.account)};
}

}  // namespace lumen::admind

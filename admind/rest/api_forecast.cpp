// How long the coins last: what the book says of the last day and week, put to the forecast.
#include "admind/people/forecast.h"

#include "admind/people/account_view.h"
#include "admind/rest/handlers.h"
#include "admind/stores/pg_statement.h"

namespace lumen::admind {

namespace {

constexpr std::int64_t kDayHours = 24;
constexpr std::int64_t kWeekHours = 7 * kDayHours;

constexpr Statement kUseWindow{"use_window",
                               "select coalesce(sum(cost), 0)::bigint, coalesce(sum(requests), 0)::bigint,"
                               " coalesce(extract(epoch from min(slot)) * 1000, 0)::bigint from usage_quarter"
                               " where account_id = $1 and slot > now() - $2::bigint * interval '1 hour'"};

/// The last `hours` as the book has them.
UseWindow read_window(pqxx::transaction_base& transaction, AccountId account, std::int64_t hours) {
    const auto row = exec_prepared1(transaction, kUseWindow, account, hours);
    return {hours, NanoCoins(row[0].as<std::int64_t>()), row[1].as<std::int64_t>(), row[2].as<std::int64_t>()};
}

}  // namespace

Json forecast_json(pqxx::transaction_base& transaction, const Wallet& wallet, const LiveBalance& amounts) {
    ForecastQuestion question;
    question.limited = !wallet.unlimited && wallet.limit.has_value();
    question.balance = amounts.balance;
    // An account that is blocked is not refilled.
    if (wallet.limit && *wallet.limit > NanoCoins()) question.refill_per_hour = wallet.rate;
    question.now_ms = unix_ms_now();
    question.day = read_window(transaction, wallet.account, kDayHours);
    // A week of a busy account is many rows, and its day says enough.
    if (question.limited && !says_enough(question.day, question.now_ms)) {
        question.week = read_window(transaction, wallet.account, kWeekHours);
    }
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
    const auto wallet = read_wallet(transaction, call.caller.account).value();
    return {200, forecast_json(transaction, wallet, balance_of(call.services.redis, wallet))};
}

}  // namespace lumen::admind

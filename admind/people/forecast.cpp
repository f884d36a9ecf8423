#include "admind/people/forecast.h"

namespace lumen::admind {

namespace {

constexpr std::int64_t kHourMs = 3'600'000;
constexpr std::int64_t kFurthestMs = 90 * 24 * kHourMs;
constexpr std::int64_t kLeastRequests = 5;
constexpr std::int64_t kLeastDataMs = kHourMs;

}  // namespace

bool says_enough(const UseWindow& window, std::int64_t now_ms) noexcept {
    return window.requests >= kLeastRequests && window.first_ms > 0 && now_ms - window.first_ms >= kLeastDataMs;
}

std::string_view outlook_name(Outlook outlook) noexcept {
    switch (outlook) {
        case Outlook::no_limit:
            return "no_limit";
        case Outlook::exhausted:
            return "exhausted";
        case Outlook::not_enough_use:
            return "not_enough_use";
        case Outlook::refill_covers:
            return "refill_covers";
        case Outlook::runs_out:
            return "runs_out";
        case Outlook::beyond:
            return "beyond";
    }
    return "no_limit";
}

Forecast forecast(const ForecastQuestion& question) noexcept {
    Forecast result;
    result.window = question.day;
    if (!question.limited) return result;
    const bool day_says = says_enough(question.day, question.now_ms);
    if (!day_says) result.window = question.week;
    const bool known = day_says || says_enough(question.week, question.now_ms);
    if (known) result.burn_per_hour = NanoCoins(result.window.spent.nano() / result.window.hours);

    if (question.balance <= NanoCoins()) {
        result.outlook = Outlook::exhausted;
        return result;
    }
    if (!known) {
        result.outlook = Outlook::not_enough_use;
        return result;
    }
    const std::int64_t net = result.burn_per_hour->nano() - question.refill_per_hour.nano();
    if (net <= 0) {
        result.outlook = Outlook::refill_covers;
        return result;
    }
    // balance × an hour passes 64 bits.
    const auto lasts_ms = static_cast<__int128>(question.balance.nano()) * kHourMs / net;
    if (lasts_ms > kFurthestMs) {
        result.outlook = Outlook::beyond;
        return result;
    }
    result.outlook = Outlook::runs_out;
    result.runs_out_ms = question.now_ms + static_cast<std::int64_t>(lasts_ms);
    return result;
}

}  // namespace lumen::admind

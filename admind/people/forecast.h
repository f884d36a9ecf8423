// How long an account's coins last at its pace of the last day (spec/ui.md F4, F5). An estimate for people, no money:
// it decides nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "lumen_core/money.h"

namespace lumen::admind {

/// What was settled in the last `hours`.
struct UseWindow {
    std::int64_t hours = 0;
    NanoCoins spent;
    std::int64_t requests = 0;
    std::int64_t first_ms = 0;  ///< of the first of them; 0: there is none
};

/// Enough use to tell a pace by.
bool says_enough(const UseWindow& window, std::int64_t now_ms) noexcept;

struct ForecastQuestion {
    bool limited = false;  ///< there is a balance that use takes from
    NanoCoins balance;
    NanoCoins refill_per_hour;
    std::int64_t now_ms = 0;
    UseWindow day;
    UseWindow week;  ///< asked when the day says too little
};

enum class Outlook : std::uint8_t { no_limit, exhausted, not_enough_use, refill_covers, runs_out, beyond };
std::string_view outlook_name(Outlook outlook) noexcept;

struct Forecast {
    Outlook outlook = Outlook::no_limit;
    std::optional<NanoCoins> burn_per_hour;  ///< absent where there is too little use to say
    std::int64_t runs_out_ms = 0;            ///< of runs_out
    UseWindow window;                        ///< what burn_per_hour was taken from
};
Forecast forecast(const ForecastQuestion& question) noexcept;

}  // namespace lumen::admind

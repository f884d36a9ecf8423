// The small grammars inside lumen.yaml: amounts, rates, times, addresses. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admind/settings/settings.h"

namespace lumen::admind {

/// A decimal read from its text; `reason` says what is wrong with it.
struct AmountResult {
    std::optional<NanoCoins> amount;
    std::string reason;
};
AmountResult parse_amount(std::string_view text);

/// "30 per minute", "100 per 5 minute", "10/second", at most two joined by ";". Empty text: no limit.
std::optional<std::vector<Rate>> parse_rates(std::string_view text);

/// "2027-01-01T00:00:00Z", also without seconds or with a fraction; Unix milliseconds.
std::optional<std::int64_t> parse_utc_time(std::string_view text);

struct WebUrl {
    bool https = false;
    std::string host;        ///< as written, IPv6 without brackets
    std::uint16_t port = 0;  ///< the scheme's own when none is given
    std::string path;        ///< "/v1"; without a final slash
};
/// http or https with a host, no user part, no query, no fragment.
std::optional<WebUrl> parse_web_url(std::string_view text);

/// The candidate that is nearest to `word`, if it is near enough to be meant.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace lumen::admind

#include "ngx_lumen_module/quota_headers.h"

#include <array>
#include <cstdio>
#include <ctime>

#include "ngx_lumen_module/refusal.h"

namespace lumen {
namespace {

constexpr std::int64_t kHourMs = 3'600'000;
/// A refill further away than this is no answer to "when": a century.
constexpr std::int64_t kMaxHoursAhead = 24 * 366 * 100;

constexpr std::int64_t divide_up(std::int64_t value, std::int64_t by) noexcept {
    return (value + by - 1) / by;
}

/// `12ms`, `54s`, `51.189s`, `6m0s`: as OpenAI writes durations.
std::string duration_text(std::int64_t ms) {
    if (ms < 1'000) return std::to_string(ms) + "ms";
    if (ms >= 60'000) return std::to_string(ms / 60'000) + "m" + std::to_string(ms % 60'000 / 1'000) + "s";
    std::string text = std::to_string(ms / 1'000);
    if (ms % 1'000 != 0) {
        std::array<char, 8> fraction;
        std::snprintf(fraction.data(), fraction.size(), ".%03d", static_cast<int>(ms % 1'000));
        text += fraction.data();
    }
    return text + "s";
}

std::string iso_time(std::int64_t unix_ms) {
    const std::time_t seconds = unix_ms / 1'000;
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    std::array<char, 32> text;
    const std::size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
    return {text.data(), length};
}

}  // namespace

void add_retry_after(ngx_http_request_t* r, std::int64_t wait_ms) {
    add_header(r, "retry-after", std::to_string(divide_up(wait_ms, 1'000)));
    add_header(r, "retry-after-ms", std::to_string(wait_ms));
}

void add_rate_limits(ngx_http_request_t* r, const Request& request) {
    if (request.remaining_requests) {
        add_header(r, "x-ratelimit-remaining-requests", std::to_string(*request.remaining_requests));
    }
    if (request.remaining_tokens) {
        add_header(r, "x-ratelimit-remaining-tokens", std::to_string(*request.remaining_tokens));
    }
}

void add_rate_limited(ngx_http_request_t* r, RateKind kind, std::int64_t wait_us) {
    const bool tokens = kind == RateKind::tokens;
    const std::int64_t wait_ms = divide_up(wait_us, 1'000);
    add_header(r, tokens ? "x-ratelimit-remaining-tokens" : "x-ratelimit-remaining-requests", "0");
    add_header(r, tokens ? "x-ratelimit-reset-tokens" : "x-ratelimit-reset-requests", duration_text(wait_ms));
    add_retry_after(r, wait_ms);
}

std::string next_refill_that_helps(const LedgerReply& coins, NanoCoins needed, std::int64_t now_ms) {
    const std::int64_t limit = coins.limit ? coins.limit->nano() : 0;
    const std::int64_t rate = coins.rate.nano();
    const std::int64_t balance = coins.balance.nano();
    const std::int64_t wanted = balance > 0 ? needed.nano() : 1;
    if (rate <= 0 || limit < wanted || balance >= wanted) return {};
    const std::int64_t refills = divide_up(wanted - balance, rate);
    if (refills > kMaxHoursAhead) return {};
    return iso_time((now_ms / kHourMs + refills) * kHourMs);
}

}  // namespace lumen

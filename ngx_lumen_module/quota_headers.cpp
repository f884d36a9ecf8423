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

/// `12ms`, `54s`, `51.189s`, `6m0s`, `24h0m0s`: as OpenAI writes durations.
std::string duration_text(std::int64_t ms) {
    if (ms < 1'000) return std::to_string(ms) + "ms";
    std::string text;
    if (ms >= kHourMs) text = std::to_string(ms / kHourMs) + "h";
    if (ms >= 60'000) text += std::to_string(ms % kHourMs / 60'000) + "m";
    text += std::to_string(ms % 60'000 / 1'000);
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

void add_rate_limits(ngx_http_request_t* r, const std::optional<RateStanding>& requests,
                     const std::optional<RateStanding>& tokens) {
    if (requests) {
        add_header(r, "x-ratelimit-limit-requests", std::to_string(requests->limit));
        add_header(r, "x-ratelimit-remaining-requests", std::to_string(requests->remaining));
        add_header(r, "x-ratelimit-reset-requests", duration_text(divide_up(requests->reset_us, 1'000)));
    }
    if (tokens) {
        add_header(r, "x-ratelimit-limit-tokens", std::to_string(tokens->limit));
        add_header(r, "x-ratelimit-remaining-tokens", std::to_string(tokens->remaining));
        add_header(r, "x-ratelimit-reset-tokens", duration_text(divide_up(tokens->reset_us, 1'000)));
    }
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

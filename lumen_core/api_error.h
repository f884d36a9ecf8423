// The refusals of the gate: one table of status, type, code and headers (spec/api.md §2), and the bodies made from it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "lumen_core/operation.h"

namespace lumen {

/// Every row of the error table that the gate itself can answer.
enum class Refusal : std::uint8_t {
    none = 0,
    missing_key,               ///< 401 no or malformed Authorization
    invalid_key,               ///< 401 unknown, revoked, inactive: one text for all
    key_expired,               ///< 401
    account_disabled,          ///< 403
    ip_not_allowed,            ///< 403
    model_not_found,           ///< 404
    model_access_denied,       ///< 403
    model_consent_required,    ///< 403
    no_budget,                 ///< 403
    out_of_coins,              ///< 402 (or 429 by directive)
    key_cap_reached,           ///< 402
    too_large_for_rate_limit,  ///< 400
    balance_held,              ///< 429
    exceeds_budget,            ///< 400
    rate_limited,              ///< 429 requests per minute, or tokens with type `tokens`
    too_many_in_flight,        ///< 429
    overloaded,                ///< 503 server_is_overloaded: every endpoint busy, or our own queue bounds
    no_healthy_endpoint,       ///< 503
    internal_error,            ///< 500
    billing_unavailable,       ///< 503
    upstream_auth_failed,      ///< 502
    upstream_error,            ///< 502: refused, reset, garbage, 5xx, no tries left
    upstream_timeout,          ///< 504
    upstream_interrupted,      ///< in stream
    coins_ran_out,             ///< in stream (strict)
    unknown_url,               ///< 404
    method_not_allowed,        ///< 405
    bad_body,                  ///< 400 body not JSON, model missing or not a string, …
    body_too_large,            ///< 413
    monitoring_only,           ///< 403 the monitoring token, anywhere but at GET /v1/models
    unknown_request,           ///< 404 GET /v1/usage/{request_id} of no call of this key
};
inline constexpr int kRefusals = static_cast<int>(Refusal::unknown_request) + 1;

struct RefusalRow {
    int status;
    std::string_view type;
    std::string_view code;     ///< empty: null
    std::string_view param;    ///< empty: null
    std::string_view message;  ///< default text; says what the caller can do
    bool never_retry;          ///< `x-should-retry: false`
};
const RefusalRow& refusal_row(Refusal refusal) noexcept;
/// The row's, but for server_is_overloaded, which Anthropic's clients know as 529.
int refusal_status(Dialect dialect, Refusal refusal) noexcept;
/// The `code` for metrics, logs and `$lumen_refusal`; never empty.
std::string_view refusal_label(Refusal refusal) noexcept;

/// What a particular refusal adds to its row. Empty strings: not there.
struct RefusalDetails {
    std::string message;      ///< instead of the row's
    std::string param;        ///< instead of the row's
    std::string code;         ///< instead of the row's
    std::string consent_url;  ///< member of model_consent_required
    std::string retry_at;     ///< member of out_of_coins: ISO time of the first refill that lifts the wallet above zero
    std::string scope;        ///< "key" for a key's own cap
    std::string type;         ///< instead of the row's: `tokens` for the token rate of rate_limited
};

/// OpenAI's envelope {"error":{"message","type","param","code",…}}, or Anthropic's {"type":"error","error":{"type",
/// "message"}}; every string is escaped.
std::string error_body(Dialect dialect, Refusal refusal, const RefusalDetails& details);
/// The same as one event of a stream, which must not end like a success (L29).
std::string error_event(Dialect dialect, Refusal refusal, const RefusalDetails& details);
/// Anthropic's envelope for an error that is no row of the table: its type by the status, unless `type` is one of its
/// own that fits.
std::string anthropic_error_body(int status, std::string_view type, std::string_view message);

/// An upstream's error body (integer `code`, flat {"message","type"}, HTML, empty) in the dialect's envelope.
/// Addresses, headers and anything that is not a JSON error message of at most 2 KiB are left out.
std::string normalised_upstream_error(Dialect dialect, int status, std::string_view body);

/// What a server answered as a success is an error all the same: it has nothing to say but a member `error`. A response
/// of the responses API that failed says so in its own words, and is one only if they give something away.
bool is_error_answer(std::string_view body);
/// The message of an error body, without what it gives away; empty if it has none that can be read.
std::string upstream_error_message(std::string_view body);

/// An error in the middle of a stream, normalised, as the operation's streams have it; `data` is that of its event.
std::string upstream_error_event(Operation operation, std::string_view data);
/// Whether a text has an address, a host's name or a credential in it.
bool gives_away(std::string_view text);

/// JSON string content without the quotes. Bytes that are not UTF-8 become U+FFFD.
void append_json_escaped(std::string& out, std::string_view text);

}  // namespace lumen

#include "lumen_core/api_error.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace lumen {
namespace {

constexpr std::string_view kInvalidRequest = "invalid_request_error";
constexpr std::string_view kPermission = "permission_error";
constexpr std::string_view kQuota = "insufficient_quota";
constexpr std::string_view kRequests = "requests";
constexpr std::string_view kServer = "server_error";
constexpr std::string_view kUnavailable = "service_unavailable_error";

constexpr bool kNeverRetry = true;

struct Entry {
    Refusal refusal;
    RefusalRow row;
    std::string_view label;  ///< where the row's code is empty
};

// In the order of spec/api.md §2, which is the order of the enum.
constexpr std::array<Entry, kRefusals> kTable{{
    {Refusal::none, {200, "", "", "", "", false}, "none"},
    {Refusal::missing_key,
     {401, kInvalidRequest, "invalid_api_key", "",
      "No API key was given. Send it as 'Authorization: Bearer sk_...'; keys are created on the profile page.", false},
     ""},
    {Refusal::invalid_key,
     {401, kInvalidRequest, "invalid_api_key", "",
      "This API key is not valid. Check that it was copied whole, or create another on the profile page.", false},
     ""},
    {Refusal::key_expired,
     {401, kInvalidRequest, "api_key_expired", "", "This API key has expired. Create another on the profile page.",
      false},
     ""},
    {Refusal::account_disabled,
     {403, kPermission, "account_disabled", "",
      "This account has been deactivated. Ask the people who run this service.", kNeverRetry},
     ""},
    {Refusal::ip_not_allowed,
     {403, kPermission, "ip_not_allowed", "",
      "This API key may not be used from your address. Use it from an address in its scope, or change the scope.",
      false},
     ""},
    {Refusal::model_not_found,
     {404, kInvalidRequest, "model_not_found", "model",
      "This model does not exist, or this key may not use it. GET /v1/models lists the models that it may use.", false},
     ""},
    {Refusal::model_access_denied,
     {403, kPermission, "model_access_denied", "model",
      "This account may not use this model. GET /v1/models lists the models that it may use.", false},
     ""},
    {Refusal::model_consent_required,
     {403, kPermission, "model_consent_required", "model",
      "This model must be acknowledged once before it is used. Do so on the profile page, then repeat the request.",
      false},
     ""},
    {Refusal::no_budget,
     {403, kPermission, "no_budget", "",
      "No budget has been set up for this account. Ask the people who run this service for one.", kNeverRetry},
     ""},
    {Refusal::out_of_coins,
     {402, kQuota, "insufficient_quota", "",
      "This account has no coins left. Wait for its next refill, shown on the profile page, or ask for more coins.",
      kNeverRetry},
     ""},
    {Refusal::key_cap_reached,
     {402, kQuota, "insufficient_quota", "",
      "This API key has reached its own spending cap. Raise the cap on the profile page, or use another key.",
      kNeverRetry},
     ""},
    {Refusal::too_large_for_rate_limit,
     {400, kInvalidRequest, "request_too_large_for_rate_limit", "",
      "This request needs more tokens than the limit per minute can ever allow. Send a shorter input or lower "
      "max_tokens.",
      kNeverRetry},
     ""},
    {Refusal::balance_held,
     {429, kRequests, "balance_held", "",
      "All coins of this account are held by requests that are still running. Try again when one of them has ended.",
      false},
     ""},
    {Refusal::exceeds_budget,
     {400, kInvalidRequest, "request_exceeds_budget", "max_tokens",
      "The most that this request could cost is more than this account can ever hold. Lower max_tokens or send a "
      "shorter input.",
      false},
     ""},
    {Refusal::rate_limited,
     {429, kRequests, "rate_limit_exceeded", "",
      "Too many requests or tokens in the last minute. Wait as long as the retry-after header says.", false},
     ""},
    {Refusal::too_many_in_flight,
     {429, kRequests, "concurrency_limit_exceeded", "",
      "Too many requests of this account or key are running at once. Try again when one of them has ended.", false},
     ""},
    {Refusal::overloaded,
     {503, kUnavailable, "server_is_overloaded", "", "All servers of this model are busy. Try again in a few seconds.",
      false},
     ""},
    {Refusal::no_healthy_endpoint,
     {503, kUnavailable, "no_healthy_endpoint", "",
      "No server of this model is working at the moment. Try again later, or use another model.", false},
     ""},
    {Refusal::internal_error,
     {500, kServer, "internal_error", "",
      "Something went wrong on our side. Try again, and report the x-request-id if it persists.", false},
     ""},
    {Refusal::billing_unavailable,
     {503, kServer, "billing_unavailable", "",
      "Coins cannot be checked at the moment, so no request can start. Try again in a few seconds.", false},
     ""},
    {Refusal::upstream_auth_failed,
     {502, kServer, "upstream_auth_failed", "",
      "The model server did not accept this service's own credentials. Your key is fine; report this to the people "
      "who run this service.",
      false},
     ""},
    {Refusal::upstream_error,
     {502, kServer, "upstream_error", "",
      "The model server could not be reached or did not answer properly. Try again.", false},
     ""},
    {Refusal::upstream_timeout,
     {504, kServer, "upstream_timeout", "",
      "The model server did not begin to answer in time. Try again, or send a shorter input.", false},
     ""},
    {Refusal::upstream_interrupted,
     {200, kServer, "upstream_stream_interrupted", "",
      "The model server broke off in the middle of its answer, which is incomplete. Repeat the request.", false},
     ""},
    {Refusal::coins_ran_out,
     {200, kQuota, "insufficient_quota", "",
      "The coins of this account ran out, so the answer was stopped here. You were charged for what you received.",
      false},
     ""},
    {Refusal::unknown_url,
     {404, kInvalidRequest, "unknown_url", "",
      "There is nothing at this path under /v1. Check the base URL and the path.", false},
     ""},
    {Refusal::method_not_allowed,
     {405, kInvalidRequest, "method_not_allowed", "",
      "This path does not take this method. The Allow header names the one it takes.", false},
     ""},
    {Refusal::bad_body,
     {400, kInvalidRequest, "", "", "The body of the request must be one JSON object with a model.", false},
     "invalid_body"},
    {Refusal::body_too_large,
     {413, kInvalidRequest, "request_too_large", "", "The body of the request is too large. Send a smaller one.",
      false},
     ""},
    {Refusal::monitoring_only,
     {403, kPermission, "monitoring_only", "",
      "This token is for monitoring: it may ask GET /v1/models and nothing else.", kNeverRetry},
     ""},
    {Refusal::unknown_request,
     {404, kInvalidRequest, "request_not_found", "",
      "This key has made no call with this id. Ids are in the x-request-id header of answers.", false},
     ""},
}};

constexpr bool follows_the_enum() {
    for (std::size_t i = 0; i < kTable.size(); ++i) {
        if (static_cast<std::size_t>(kTable[i].refusal) != i) return false;
    }
    return true;
}
static_assert(follows_the_enum(), "refusal_row looks rows up by position");

const Entry& entry_of(Refusal refusal) noexcept {
    const auto index = static_cast<std::size_t>(refusal);
    return kTable[index < kTable.size() ? index : static_cast<std::size_t>(Refusal::internal_error)];
}

void append_string(std::string& out, std::string_view text) {
    out += '"';
    append_json_escaped(out, text);
    out += '"';
}

/// `,"name":"value"`, or null for an empty value.
void append_nullable(std::string& out, std::string_view name, std::string_view value) {
    out += ',';
    append_string(out, name);
    out += ':';
    if (value.empty()) {
        out += "null";
    } else {
        append_string(out, value);
    }
}

void append_if_given(std::string& out, std::string_view name, std::string_view value) {
    if (!value.empty()) append_nullable(out, name, value);
}

std::string_view first_given(std::string_view detail, std::string_view of_row) noexcept {
    return detail.empty() ? of_row : detail;
}

/// Length of the well-formed UTF-8 sequence at the front of `text` (RFC 3629), 0 if there is none.
std::size_t utf8_length(std::string_view text) noexcept {
    const auto at = [&](std::size_t i) {
        return i < text.size() ? static_cast<std::uint8_t>(text[i]) : std::uint8_t{0};
    };
    const auto continues = [&](std::size_t i) { return (at(i) & 0xC0U) == 0x80U; };
    const std::uint8_t lead = at(0);
    const std::uint8_t second = at(1);
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF) return continues(1) ? 2 : 0;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F)) return 0;  // overlong; surrogate
        return continues(1) && continues(2) ? 3 : 0;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if ((lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) return 0;  // overlong; above U+10FFFF
        return continues(1) && continues(2) && continues(3) ? 4 : 0;
    }
    return 0;
}

constexpr std::string_view kBilling = "billing_error";

/// Anthropic's word for an error: its own, if it is one, else by the status.
std::string_view anthropic_type(std::string_view type, int status) noexcept {
    constexpr std::array<std::string_view, 9> kTypes{
        "invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error",
        "request_too_large",     "rate_limit_error",     "api_error",     "overloaded_error"};
    switch (status) {
        case 401:
            return "authentication_error";
        case 402:
            return kBilling;
        case 403:
            return "permission_error";
        case 404:
            return "not_found_error";
        case 413:
            return "request_too_large";
        case 429:
            return "rate_limit_error";
        default:
            break;
    }
    if (status >= 400 && status < 500) {
        const bool known = std::find(kTypes.begin(), kTypes.end(), type) != kTypes.end();
        return known ? type : kTypes.front();
    }
    return "api_error";
}

std::string anthropic_body(std::string_view type, std::string_view message) {
    std::string body = R"({"type":"error","error":{"type":)";
    append_string(body, type);
    body += R"(,"message":)";
    append_string(body, message);
    return body += "}}";
}

}  // namespace

const RefusalRow& refusal_row(Refusal refusal) noexcept {
    return entry_of(refusal).row;
}

std::string_view refusal_label(Refusal refusal) noexcept {
    const Entry& entry = entry_of(refusal);
    return first_given(entry.row.code, entry.label);
}

int refusal_status(Dialect dialect, Refusal refusal) noexcept {
    constexpr int kAnthropicOverloaded = 529;
    const bool overloaded = dialect == Dialect::anthropic && refusal == Refusal::overloaded;
    return overloaded ? kAnthropicOverloaded : refusal_row(refusal).status;
}

std::string error_body(Dialect dialect, Refusal refusal, const RefusalDetails& details) {
    const RefusalRow& row = refusal_row(refusal);
    const std::string_view message = first_given(details.message, row.message);
    if (dialect == Dialect::anthropic) {
        if (refusal == Refusal::overloaded) return anthropic_body("overloaded_error", message);
        return anthropic_body(row.type == kQuota ? kBilling : anthropic_type(row.type, row.status), message);
    }
    std::string body = R"({"error":{"message":)";
    append_string(body, message);
    append_nullable(body, "type", first_given(details.type, row.type));
    append_nullable(body, "param", first_given(details.param, row.param));
    append_nullable(body, "code", first_given(details.code, row.code));
    append_if_given(body, "consent_url", details.consent_url);
    append_if_given(body, "retry_at", details.retry_at);
    append_if_given(body, "scope", details.scope);
    return body += "}}";
}

std::string anthropic_error_body(int status, std::string_view type, std::string_view message) {
    return anthropic_body(anthropic_type(type, status), message);
}

std::string error_event(Dialect dialect, Refusal refusal, const RefusalDetails& details) {
    const std::string_view name = dialect == Dialect::anthropic ? "event: error\n" : "";
    return std::string{name} + "data: " + error_body(dialect, refusal, details) + "\n\n";
}

void append_json_escaped(std::string& out, std::string_view text) {
    constexpr std::string_view kHex = "0123456789abcdef";
    while (!text.empty()) {
        const char c = text.front();
        std::size_t taken = 1;
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (static_cast<std::uint8_t>(c) < 0x20 || c == '\x7f') {
            out += "\\u00";
            out += kHex[static_cast<std::uint8_t>(c) >> 4U];
            out += kHex[static_cast<std::uint8_t>(c) & 0x0FU];
        } else if (const std::size_t length = utf8_length(text); length > 0) {
            out += text.substr(0, length);
            taken = length;
        } else {
            out += "\xEF\xBF\xBD";  // U+FFFD: a JSON text is UTF-8, whatever came in
        }
        text.remove_prefix(taken);
    }
}

}  // namespace lumen

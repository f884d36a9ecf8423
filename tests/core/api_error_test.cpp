#include "lumen_core/api_error.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <ostream>
#include <set>
#include <string>

namespace lumen {
namespace {

/// A row of the error table of spec/api.md §2.
struct Row {
    const char* situation;
    Refusal refusal;
    int status;
    const char* type;
    const char* code;  ///< "": null
    const char* param;
    bool never_retry;
};
std::ostream& operator<<(std::ostream& out, const Row& row) {
    return out << row.situation;
}

const Row kTable[] = {
    {"no_or_malformed_authorization", Refusal::missing_key, 401, "invalid_request_error", "invalid_api_key", "", false},
    {"unknown_revoked_or_inactive_key", Refusal::invalid_key, 401, "invalid_request_error", "invalid_api_key", "",
     false},
    {"expired_key", Refusal::key_expired, 401, "invalid_request_error", "api_key_expired", "", false},
    {"account_deactivated", Refusal::account_disabled, 403, "permission_error", "account_disabled", "", true},
    {"address_not_in_scope", Refusal::ip_not_allowed, 403, "permission_error", "ip_not_allowed", "", false},
    {"model_unknown", Refusal::model_not_found, 404, "invalid_request_error", "model_not_found", "model", false},
    {"model_blocked", Refusal::model_access_denied, 403, "permission_error", "model_access_denied", "model", false},
    {"model_needs_consent", Refusal::model_consent_required, 403, "permission_error", "model_consent_required", "model",
     false},
    {"no_budget", Refusal::no_budget, 403, "permission_error", "no_budget", "", true},
    {"out_of_coins", Refusal::out_of_coins, 402, "insufficient_quota", "insufficient_quota", "", true},
    {"key_cap_reached", Refusal::key_cap_reached, 402, "insufficient_quota", "insufficient_quota", "", true},
    {"never_fits_the_token_rate", Refusal::too_large_for_rate_limit, 400, "invalid_request_error",
     "request_too_large_for_rate_limit", "", true},
    {"all_coins_held", Refusal::balance_held, 429, "requests", "balance_held", "", false},
    {"strict_never_fits", Refusal::exceeds_budget, 400, "invalid_request_error", "request_exceeds_budget", "max_tokens",
     false},
    {"requests_per_minute", Refusal::rate_limited, 429, "requests", "rate_limit_exceeded", "", false},
    {"too_many_in_flight", Refusal::too_many_in_flight, 429, "requests", "concurrency_limit_exceeded", "", false},
    {"all_endpoints_busy", Refusal::overloaded, 503, "service_unavailable_error", "server_is_overloaded", "", false},
    {"no_healthy_endpoint", Refusal::no_healthy_endpoint, 503, "service_unavailable_error", "no_healthy_endpoint", "",
     false},
    {"bug", Refusal::internal_error, 500, "server_error", "internal_error", "", false},
    {"fail_closed", Refusal::billing_unavailable, 503, "server_error", "billing_unavailable", "", false},
    {"upstream_401_or_403", Refusal::upstream_auth_failed, 502, "server_error", "upstream_auth_failed", "", false},
    {"upstream_failed", Refusal::upstream_error, 502, "server_error", "upstream_error", "", false},
    {"upstream_timed_out", Refusal::upstream_timeout, 504, "server_error", "upstream_timeout", "", false},
    {"upstream_cut_in_stream", Refusal::upstream_interrupted, 200, "server_error", "upstream_stream_interrupted", "",
     false},
    {"coins_ran_out_in_stream", Refusal::coins_ran_out, 200, "insufficient_quota", "insufficient_quota", "", false},
    {"unknown_path", Refusal::unknown_url, 404, "invalid_request_error", "unknown_url", "", false},
    {"wrong_method", Refusal::method_not_allowed, 405, "invalid_request_error", "method_not_allowed", "", false},
    {"body_not_json", Refusal::bad_body, 400, "invalid_request_error", "", "", false},
    {"body_too_large", Refusal::body_too_large, 413, "invalid_request_error", "request_too_large", "", false},
    {"monitoring_token_elsewhere", Refusal::monitoring_only, 403, "permission_error", "monitoring_only", "", true},
    {"usage_of_no_call_of_this_key", Refusal::unknown_request, 404, "invalid_request_error", "request_not_found", "",
     false},
};

/// A member of the error object: its text, "null", or "absent".
std::string member(const std::string& body, std::string_view name) {
    simdjson::dom::parser parser;
    simdjson::dom::element error;
    simdjson::dom::element value;
    if (parser.parse(body)["error"].get(error) != simdjson::SUCCESS) return "not JSON: " + body;
    if (error[name].get(value) != simdjson::SUCCESS) return "absent";
    std::string_view text;
    return value.get(text) == simdjson::SUCCESS ? std::string{text} : simdjson::minify(value);
}

std::string or_null(const char* text) {
    return *text == '\0' ? "null" : text;
}

class ErrorTable : public testing::TestWithParam<Row> {};

TEST_P(ErrorTable, row_is_answered_as_the_spec_says) {
    const Row& row = GetParam();
    const RefusalRow& ours = refusal_row(row.refusal);
    EXPECT_EQ(ours.status, row.status);
    EXPECT_EQ(ours.never_retry, row.never_retry);
    EXPECT_FALSE(refusal_label(row.refusal).empty());
    EXPECT_GT(ours.message.size(), 30U) << "says what happened and what the caller can do";

    const std::string body = error_body(Dialect::openai, row.refusal, {});
    EXPECT_EQ(member(body, "message"), ours.message);
    EXPECT_EQ(member(body, "type"), row.type);
    EXPECT_EQ(member(body, "code"), or_null(row.code));
    EXPECT_EQ(member(body, "param"), or_null(row.param));
    for (const char* detail : {"consent_url", "retry_at", "scope"}) EXPECT_EQ(member(body, detail), "absent");
    EXPECT_EQ(error_event(Dialect::openai, row.refusal, {}), "data: " + body + "\n\n");
}

INSTANTIATE_TEST_SUITE_P(spec_api_md, ErrorTable, testing::ValuesIn(kTable),
                         [](const auto& instance) { return std::string{instance.param.situation}; });

/// The words of Anthropic's envelope for a row's status, billing for what is about coins whatever the status.
std::string anthropic_type(const Row& row) {
    if (row.type == std::string{"insufficient_quota"}) return "billing_error";
    if (row.refusal == Refusal::overloaded) return "overloaded_error";
    switch (row.status) {
        case 400:
        case 405:
            return "invalid_request_error";
        case 401:
            return "authentication_error";
        case 403:
            return "permission_error";
        case 404:
            return "not_found_error";
        case 413:
            return "request_too_large";
        case 429:
            return "rate_limit_error";
        default:
            return "api_error";
    }
}

TEST_P(ErrorTable, row_is_told_in_anthropics_words) {
    const Row& row = GetParam();
    const std::string body = error_body(Dialect::anthropic, row.refusal, {});
    EXPECT_EQ(body.find(R"({"type":"error","error":{"type":")"), 0U) << body;
    EXPECT_EQ(member(body, "type"), anthropic_type(row));
    EXPECT_EQ(member(body, "message"), refusal_row(row.refusal).message);
    for (const char* other : {"code", "param", "scope"}) EXPECT_EQ(member(body, other), "absent");
    EXPECT_EQ(error_event(Dialect::anthropic, row.refusal, {}), "event: error\ndata: " + body + "\n\n");
    EXPECT_EQ(refusal_status(Dialect::openai, row.refusal), row.status);
    EXPECT_EQ(refusal_status(Dialect::anthropic, row.refusal), row.refusal == Refusal::overloaded ? 529 : row.status);
}

TEST(api_error, table_covers_every_refusal) {
    std::set<Refusal> covered{Refusal::none};
    for (const Row& row : kTable) covered.insert(row.refusal);
    EXPECT_EQ(covered.size(), static_cast<std::size_t>(kRefusals));
}

TEST(api_error, what_is_no_refusal_is_an_internal_error) {
    EXPECT_EQ(refusal_row(static_cast<Refusal>(200)).status, 500);
    EXPECT_EQ(refusal_label(Refusal::none), "none");
    EXPECT_EQ(refusal_label(Refusal::bad_body), "invalid_body");
}

TEST(api_error, details_take_the_place_of_the_row) {
    RefusalDetails details;
    details.message = "Say \"please\"\n";
    details.param = "stream";
    details.code = "invalid_value";
    const std::string body = error_body(Dialect::openai, Refusal::bad_body, details);
    EXPECT_EQ(member(body, "message"), "Say \"please\"\n");
    EXPECT_EQ(member(body, "param"), "stream");
    EXPECT_EQ(member(body, "code"), "invalid_value");
    EXPECT_EQ(member(body, "type"), "invalid_request_error");

    RefusalDetails tokens;
    tokens.type = "tokens";
    EXPECT_EQ(member(error_body(Dialect::openai, Refusal::rate_limited, tokens), "type"), "tokens");
}

TEST(api_error, details_add_their_members) {
    RefusalDetails details;
    details.consent_url = "https://lumen.example/profile?model=a&b";
    EXPECT_EQ(member(error_body(Dialect::openai, Refusal::model_consent_required, details), "consent_url"),
              details.consent_url);
    details = {};
    details.retry_at = "2026-12-01T10:00:00Z";
    EXPECT_EQ(member(error_body(Dialect::openai, Refusal::out_of_coins, details), "retry_at"), details.retry_at);
    details = {};
    details.scope = "key";
    EXPECT_EQ(member(error_body(Dialect::openai, Refusal::key_cap_reached, details), "scope"), "key");
}

TEST(api_error, an_event_stays_one_line_whatever_is_in_it) {
    RefusalDetails details;
    details.message = "a\n\ndata: [DONE]\r\n\r\n";
    const std::string event = error_event(Dialect::openai, Refusal::upstream_interrupted, details);
    EXPECT_EQ(event.find_first_of("\r\n"), event.size() - 2);
    EXPECT_EQ(member(event.substr(6), "message"), details.message);
}

TEST(api_error, every_byte_sequence_becomes_valid_json) {
    for (int first = 0; first < 256; ++first) {
        for (int second = 0; second < 256; ++second) {
            RefusalDetails details;
            details.message = {'x', static_cast<char>(first), static_cast<char>(second), 'y'};
            const std::string read = member(error_body(Dialect::openai, Refusal::bad_body, details), "message");
            ASSERT_EQ(read.front(), 'x') << first << ' ' << second << ' ' << read;
            ASSERT_EQ(read.back(), 'y');
            if (first < 0x80 && second < 0x80) {
                ASSERT_EQ(read, details.message);
            }
        }
    }
    const auto escaped = [](std::string_view text) {
        std::string out;
        append_json_escaped(out, text);
        return out;
    };
    EXPECT_EQ(escaped("é😀"), "é😀");
    EXPECT_EQ(escaped("\x01\x1f\x7f\t"), R"(\u0001\u001f\u007f\u0009)");
    EXPECT_EQ(escaped("\xE2\x82"), "\xEF\xBF\xBD\xEF\xBF\xBD") << "cut in a character";
    EXPECT_EQ(escaped("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD") << "a surrogate";
    EXPECT_EQ(escaped("\xC0\xAF\xF4\x90\x80\x80").size(), 6 * 3U) << "overlong; beyond Unicode";
}

}  // namespace
}  // namespace lumen

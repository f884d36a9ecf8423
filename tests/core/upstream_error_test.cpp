#include <gtest/gtest.h>
#include <simdjson.h>

#include <random>
#include <string>

#include "lumen_core/api_error.h"

namespace lumen {
namespace {

struct Error {
    std::string message, type, param, code;
};

std::string text_or_null(simdjson::dom::element error, std::string_view name) {
    std::string_view text;
    if (error[name].get(text) == simdjson::SUCCESS) return std::string{text};
    return error[name].is_null() ? "null" : "neither text nor null";
}

Error normalised(int status, std::string_view body) {
    const std::string text = normalised_upstream_error(Dialect::openai, status, body);
    simdjson::dom::parser parser;
    simdjson::dom::element error;
    EXPECT_EQ(parser.parse(text)["error"].get(error), simdjson::SUCCESS) << text;
    if (testing::Test::HasFailure()) return {};
    return {text_or_null(error, "message"), text_or_null(error, "type"), text_or_null(error, "param"),
            text_or_null(error, "code")};
}

std::string message_of(const std::string& message) {
    std::string body = R"({"error":{"message":")";
    append_json_escaped(body, message);
    return normalised(400, body + "\"}}").message;
}

const char* const kGeneric = "The model server answered with status 400 and no readable message.";

TEST(upstream_error, in_openai_form_passes) {
    const Error error = normalised(
        400,
        R"({"error":{"message":"Too long: 9000 > 8192.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}})");
    EXPECT_EQ(error.message, "Too long: 9000 > 8192.");
    EXPECT_EQ(error.type, "invalid_request_error");
    EXPECT_EQ(error.param, "messages");
    EXPECT_EQ(error.code, "context_length_exceeded");
}

TEST(upstream_error, with_an_integer_code_gets_null) {
    const Error error = normalised(
        404, R"({"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":null,"code":404}})");
    EXPECT_EQ(error.message, "The model `x` does not exist.");
    EXPECT_EQ(error.type, "invalid_request_error");
    EXPECT_EQ(error.param, "null");
    EXPECT_EQ(error.code, "null");
}

TEST(upstream_error, flat_or_as_plain_text_is_wrapped) {
    const Error flat = normalised(
        400,
        R"({"object":"error","message":"bad temperature","type":"BadRequestError","param":"temperature","code":400})");
    EXPECT_EQ(flat.message, "bad temperature");
    EXPECT_EQ(flat.type, "invalid_request_error");
    EXPECT_EQ(flat.param, "temperature");
    EXPECT_EQ(flat.code, "null");
    EXPECT_EQ(normalised(404, R"({"error":"model 'x' not found"})").message, "model 'x' not found");
    EXPECT_EQ(normalised(404, R"({"detail":"Not Found"})").message, "Not Found");
}

TEST(upstream_error, of_fastapi_names_the_member) {
    const Error error = normalised(
        422,
        R"({"detail":[{"loc":["body","messages",0,"role"],"msg":"field required","type":"value_error.missing"},{"msg":"other"}]})");
    EXPECT_EQ(error.message, "field required");
    EXPECT_EQ(error.param, "role");
    EXPECT_EQ(error.type, "invalid_request_error");
}

TEST(upstream_error, that_is_no_json_message_is_left_out) {
    for (const std::string& body :
         {std::string{}, std::string{"<html><body>502 nginx/1.22.1</body></html>"},
          std::string{"Bad Request at 10.0.0.5"}, std::string{"[]"}, std::string{"null"}, std::string{"{}"},
          std::string{R"({"error":{}})"}, std::string{R"({"error":{"message":5}})"},
          std::string{R"({"error":{"message":""}})"}, std::string{R"({"detail":[]})"}, std::string{R"({"detail":[5]})"},
          std::string{R"({"detail":[{"loc":5,"msg":null}]})"}, std::string{"{\"error\":{\"message\":\"\xff\"}}"},
          std::string{R"({"error":{"message":"x"}} trailing)"},
          R"({"error":{"message":")" + std::string(2'049, 'a') + "\"}}",
          R"({"error":{"message":"x"},"y":")" + std::string(70'000, 'a') + "\"}"}) {
        EXPECT_EQ(normalised(400, body).message, kGeneric) << body.substr(0, 100);
    }
    EXPECT_EQ(message_of(std::string(2'048, 'a')), std::string(2'048, 'a'));
    EXPECT_EQ(normalised(500, "").type, "server_error");
    EXPECT_EQ(normalised(413, "").type, "invalid_request_error");
}

TEST(upstream_error, with_markup_or_a_dump_is_left_out) {
    for (const char* message :
         {"<html>", "see </b>", "<!DOCTYPE html>", "<?xml?>", "a <script>alert(1)</script>",
          "HTTPConnectionPool(host='gpu1', port=8000): Max retries exceeded", "Traceback (most recent call last): x"}) {
        EXPECT_EQ(message_of(message), kGeneric) << message;
    }
    EXPECT_EQ(message_of("5 < 6, 7 <= 8, <|im_start|> <"), "5 < 6, 7 <= 8, <|im_start|> <");
}

TEST(upstream_error, addresses_and_credentials_are_removed) {
    for (const char* word : {"10.0.0.5",
                             "10.0.0.5:8000",
                             "http://gpu1:8000/v1/chat",
                             "https://models.internal",
                             "gpu1:8000",
                             "gpu-3.rack:443",
                             "localhost",
                             "localhost:11434",
                             "LOCALHOST",
                             "[::1]:8000",
                             "::1",
                             "fe80::1%eth0",
                             "2001:db8:0:0:0:0:0:1",
                             "gpu1.cluster.local",
                             "vllm.default.svc",
                             "api.openai.com",
                             "Models.Example.ORG",
                             "ops@example.edu",
                             "unix:/run/vllm.sock",
                             "redis://x",
                             "sk-abc123def",
                             "sk_0123456789",
                             "hf_abcdefgh",
                             "x10.0.0.5y",
                             "ip-10.0.0.5.ec2",
                             "192.168.100.200."}) {
        EXPECT_EQ(message_of(std::string{"at ("} + word + ") now"), "at ([removed]) now") << word;
        EXPECT_EQ(message_of(word), "[removed]") << word;
        EXPECT_EQ(message_of(std::string{"peer="} + word), "peer=[removed]") << word;
        EXPECT_EQ(message_of(std::string{"'"} + word + "',\"" + word + "\""), "'[removed]',\"[removed]\"") << word;
    }
    EXPECT_EQ(normalised(400, R"({"error":{"message":"x","param":"10.0.0.5","code":"gpu1.local"}})").param, "null");
    EXPECT_EQ(normalised(400, R"({"error":{"message":"x","param":"10.0.0.5","code":"gpu1.local"}})").code, "null");
}

TEST(upstream_error, what_a_caller_needs_to_read_stays) {
    for (const char* message : {"messages.0.content must be a string", "max_tokens must be at least 1, got -5.",
                                "temperature: 2.5 is above 2.0", "ratio 3:2 at 12:30",
                                "model 'meta-llama/Llama-3.1-70B-Instruct' does not exist",
                                "This model's maximum context length is 4096 tokens. You asked for 5000.",
                                "tools[0].function.name is required", "gpt-3.5-turbo-0125", "e.g. 1.2.3",
                                "Größe ungültig 😀", "std::string", "a:b:c", "20%", "C:"}) {
        EXPECT_EQ(message_of(message), message);
    }
}

TEST(upstream_error, type_param_and_code_are_identifiers_or_nothing) {
    const Error odd = normalised(400, R"({"error":{"message":"x","type":"Bad Type","param":"a b","code":"<b>"}})");
    EXPECT_EQ(odd.type, "invalid_request_error");
    EXPECT_EQ(odd.param, "null");
    EXPECT_EQ(odd.code, "null");
    const std::string long_name(65, 'a');
    const Error too_long = normalised(500, R"({"error":{"message":"x","type":")" + long_name + R"(","param":")" +
                                               long_name + R"(","code":")" + long_name + "\"}}");
    EXPECT_EQ(too_long.type, "server_error");
    EXPECT_EQ(too_long.param, "null");
    EXPECT_EQ(too_long.code, "null");
    EXPECT_EQ(normalised(400, R"({"error":{"message":"x","param":"tools[0].function"}})").param, "tools[0].function");
}

TEST(upstream_error, under_a_status_of_success_is_known_by_its_body) {
    for (const char* body :
         {R"({"error":{"message":"no","code":500}})", R"({"error":"no model"})", R"({"id":"x","error":{}})",
          R"({"object":"error","message":"no","code":400})",
          R"({"object":"response","status":"failed","error":{"message":"no route to http://gpu1:8000"}})"}) {
        EXPECT_TRUE(is_error_answer(body)) << body;
    }
    for (const char* body : {R"({"error":null,"choices":[]})", R"({"choices":[]})", R"({"error":false})", "[]", "no",
                             R"({"x":{"error":{"message":"no"}}})",
                             R"({"object":"response","status":"failed","error":{"message":"no"}})"}) {
        EXPECT_FALSE(is_error_answer(body)) << body;
    }
    EXPECT_EQ(upstream_error_message(R"({"error":{"message":"no route to gpu1:8000"}})"), "no route to [removed]");
    EXPECT_EQ(upstream_error_message(R"({"object":"error","message":"no"})"), "no");
    EXPECT_EQ(upstream_error_message("<html>"), "");
}

TEST(upstream_error, of_a_response_that_failed_is_read_where_it_stands) {
    EXPECT_EQ(
        upstream_error_event(Operation::responses,
                             R"({"type":"response.failed","response":{"error":{"message":"lost gpu1:8000"}}})"),
        "event: error\ndata: {\"type\":\"error\",\"code\":null,\"param\":null,\"message\":\"lost [removed]\"}\n\n");
}

TEST(upstream_error, random_bytes_give_a_bounded_answer) {
    std::mt19937_64 random{77};
    constexpr std::string_view kPieces[] = {"{",  "}",    "\"error\"",  ":",    "\"message\"", ",", "\"10.0.0.5\"",
                                            "[",  "]",    "\"detail\"", "null", "\"<b>\"",     "5", "\"code\"",
                                            "\\", "\xff", " ",          "\""};
    for (int round = 0; round < 20'000; ++round) {
        std::string body = random() % 2 == 0 ? "{\"error\":{\"message\":" : "{";
        for (std::uint64_t n = random() % 12; n > 0; --n) body += kPieces[random() % std::size(kPieces)];
        if (random() % 2 == 0) body += "}}";
        const std::string answer = normalised_upstream_error(Dialect::openai, 400, body);
        ASSERT_LT(answer.size(), 4'096U);
        ASSERT_EQ(answer.find("10.0.0.5"), std::string::npos) << body;
        ASSERT_EQ(answer.find("<b>"), std::string::npos) << body;
    }
}

TEST(upstream_error, is_told_in_anthropics_words_where_those_are_spoken) {
    const auto told = [](int status, std::string_view body) {
        return normalised_upstream_error(Dialect::anthropic, status, body);
    };
    EXPECT_EQ(
        told(400, R"({"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too large"}})"),
        R"({"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too large"}})");
    EXPECT_EQ(told(404, R"({"object":"error","message":"no model `x` at gpu1:8000","code":404})"),
              R"({"type":"error","error":{"type":"not_found_error","message":"no model `x` at [removed]"}})");
    EXPECT_EQ(
        told(422, "<html>"),
        R"({"type":"error","error":{"type":"invalid_request_error","message":"The model server answered with status 422 and no readable message."}})");
}

}  // namespace
}  // namespace lumen

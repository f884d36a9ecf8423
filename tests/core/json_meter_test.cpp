#include "lumen_core/json_meter.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace lumen {
namespace {

struct Metered {
    bool whole;
    std::string usage;
    std::uint64_t text;
};

Metered meter(Operation operation, std::string_view answer, std::size_t piece) {
    JsonMeter json(operation);
    for (std::size_t at = 0; at < answer.size(); at += piece) json.feed(answer.substr(at, piece));
    return {json.whole(), std::string(json.usage_object()), json.output_text_bytes()};
}

struct Case {
    const char* name;
    Operation operation;
    const char* answer;
    Metered expected;
};

class JsonMeterTest : public testing::TestWithParam<Case> {};

TEST_P(JsonMeterTest, tells_the_same_wherever_it_is_cut) {
    const Case& row = GetParam();
    const std::string_view answer = row.answer;
    for (std::size_t piece = 1; piece <= answer.size() + 1; ++piece) {
        const Metered got = meter(row.operation, answer, piece);
        ASSERT_EQ(got.whole, row.expected.whole) << piece;
        ASSERT_EQ(got.usage, row.expected.usage) << piece;
        ASSERT_EQ(got.text, row.expected.text) << piece;
    }
}

INSTANTIATE_TEST_SUITE_P(
    Answers, JsonMeterTest,
    testing::Values(
        Case{
            "chat",
            Operation::chat_completions,
            R"({"id":"x","choices":[{"message":{"role":"assistant","content":"hello"}}],"usage":{"prompt_tokens":3}} )",
            {true, R"({"prompt_tokens":3})", 5}},
        Case{"usage_first",
             Operation::embeddings,
             R"({"usage":{"prompt_tokens":3,"d":{"e":[1]}},"data":[{"embedding":[0.1]}]})",
             {true, R"({"prompt_tokens":3,"d":{"e":[1]}})", 0}},
        Case{"nested_usage_is_not_it",
             Operation::chat_completions,
             R"({"choices":[{"usage":{"prompt_tokens":9}}]})",
             {true, "", 0}},
        Case{"usage_in_a_text_is_not_it",
             Operation::chat_completions,
             R"({"text":"\"usage\":{\"prompt_tokens\":9}"})",
             {true, "", 31}},
        Case{"null_usage", Operation::chat_completions, R"({"usage":null,"text":"ab"})", {true, "", 2}},
        Case{"text_of_operations_without_any", Operation::embeddings, R"({"text":"ab"})", {true, "", 0}},
        Case{"tool_arguments_and_reasoning",
             Operation::chat_completions,
             R"({"reasoning_content":"abc","function":{"name":"f","arguments":"{}"}})",
             {true, "", 5}},
        Case{"escapes", Operation::chat_completions, R"({"content":"a\\\"}","x":"]"})", {true, "", 6}},
        Case{"cut", Operation::chat_completions, R"({"usage":{"prompt_tokens":3)", {false, "", 0}},
        Case{"two_objects", Operation::chat_completions, R"({}{})", {false, "", 0}},
        Case{"an_array", Operation::chat_completions, R"([1])", {false, "", 0}},
        Case{"brackets_that_do_not_match", Operation::chat_completions, R"({"a":[1}})", {false, "", 0}},
        Case{"a_page", Operation::chat_completions, "<html>", {false, "", 0}}),
    [](const testing::TestParamInfo<Case>& test) { return test.param.name; });

TEST(JsonMeterBounds, deep_nesting_is_given_up) {
    const std::string deep = "{\"a\":" + std::string(1000, '[') + std::string(1000, ']') + "}";
    EXPECT_FALSE(meter(Operation::chat_completions, deep, 7).whole);
}

TEST(JsonMeterBounds, a_usage_beyond_its_bound_is_not_read) {
    const std::string answer = "{\"usage\":{\"x\":\"" + std::string(JsonMeter::kMaxUsageBytes, 'y') + "\"}}";
    const Metered got = meter(Operation::chat_completions, answer, 100);
    EXPECT_TRUE(got.whole);
    EXPECT_EQ(got.usage, "");
}

TEST(json_meter, counts_the_pictures_of_an_answer) {
    const std::string answer =
        R"({"created":1,"data":[{"b64_json":"[{}]","x":{"y":[{}]}},{"url":"u"}],"usage":{"data":[{}]}})";
    for (std::size_t piece = 1; piece <= answer.size(); ++piece) {
        JsonMeter json(Operation::images_generations);
        for (std::size_t at = 0; at < answer.size(); at += piece) json.feed(std::string_view(answer).substr(at, piece));
        ASSERT_EQ(json.images(), 2U) << piece;
    }
}

TEST(json_meter, reads_how_long_a_sound_was) {
    for (const auto& [member, duration] :
         std::vector<std::pair<std::string, std::string>>{{R"("duration":8.47)", "8.47"},
                                                          {R"("duration" : "8.47" )", "8.47"},
                                                          {R"("duration":null)", "null"},
                                                          {R"("segments":[{"duration":1}])", ""}}) {
        const std::string answer = R"({"text":"duration\":9",)" + member + R"(,"x":12})";
        for (std::size_t piece = 1; piece <= answer.size(); ++piece) {
            JsonMeter json(Operation::audio_transcriptions);
            for (std::size_t at = 0; at < answer.size(); at += piece)
                json.feed(std::string_view(answer).substr(at, piece));
            ASSERT_EQ(json.named(), duration) << member << " in pieces of " << piece;
        }
    }
}

}  // namespace
}  // namespace lumen

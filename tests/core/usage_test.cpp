#include "lumen_core/usage.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "lumen_core/request_facts.h"

namespace lumen {
namespace {

/// input, cached, cache_write, output, reasoning; empty: no usage.
using Counts = std::vector<std::uint64_t>;

Counts counts_of(const std::optional<Usage>& usage) {
    if (!usage) return {};
    EXPECT_EQ(usage->audio_ms + usage->images + usage->characters, 0u);
    return {usage->input_tokens, usage->cached_tokens, usage->cache_write_tokens, usage->output_tokens,
            usage->reasoning_tokens};
}

Counts counts_of(const std::optional<SaidUsage>& said) {
    return counts_of(said ? std::optional(said->usage) : std::nullopt);
}

/// Behind the body lies what would change its meaning, if it were read.
Counts read_answer(Operation operation, std::string body) {
    const std::size_t size = body.size();
    body += R"(,"usage":{"prompt_tokens":666,"input_tokens":666}})";
    body.append(kJsonPadding, '}');
    return counts_of(usage_of_json_answer(operation, {body.data(), size}));
}

struct AnswerCase {
    const char* name;
    Operation operation;
    std::string body;
    Counts counts;
};
void PrintTo(const AnswerCase& answer, std::ostream* out) {
    *out << answer.body;
}

class Answer : public testing::TestWithParam<AnswerCase> {};
std::string answer_name(const testing::TestParamInfo<AnswerCase>& test) {
    return test.param.name;
}

TEST_P(Answer, gives_its_usage) {
    EXPECT_EQ(read_answer(GetParam().operation, GetParam().body), GetParam().counts);
}

constexpr Operation kChat = Operation::chat_completions;

TEST(usage, of_a_message_counts_caches_apart_and_is_added_up) {
    const auto usage = usage_of_object(Operation::messages,
                                       R"({"input_tokens":11,"cache_creation_input_tokens":5,
                                           "cache_read_input_tokens":7,"output_tokens":9,"service_tier":"standard"})");
    EXPECT_EQ(counts_of(usage), (Counts{23, 7, 5, 9, 0}));
    EXPECT_EQ(counts_of(usage_of_object(Operation::messages, R"({"output_tokens":9})")), (Counts{0, 0, 0, 9, 0}));
    EXPECT_FALSE(usage_of_object(Operation::messages, R"({"cache_read_input_tokens":7})"));
    EXPECT_FALSE(usage_of_object(Operation::messages, R"({"input_tokens":-1,"output_tokens":"9"})"));
}

TEST(usage, of_sound_is_in_seconds_or_in_tokens) {
    constexpr Operation kSound = Operation::audio_transcriptions;
    const auto timed = usage_of_object(kSound, R"({"type":"duration","seconds":9.2341})");
    ASSERT_TRUE(timed);
    EXPECT_EQ(timed->usage.audio_ms, 9'235U);
    EXPECT_EQ(timed->usage.input_tokens, 0U);
    EXPECT_FALSE(timed->lacks_input || timed->lacks_output);
    EXPECT_EQ(counts_of(usage_of_object(kSound, R"({"type":"tokens","input_tokens":14,"output_tokens":45})")),
              (Counts{14, 0, 0, 45, 0}));
    EXPECT_FALSE(usage_of_object(kSound, R"({"type":"duration","seconds":-1})"));
    EXPECT_FALSE(usage_of_object(kChat, R"({"type":"duration","seconds":9})"));
}

TEST(usage, seconds_are_read_as_they_are_written) {
    EXPECT_EQ(seconds_as_ms("0"), 0U);
    EXPECT_EQ(seconds_as_ms("12"), 12'000U);
    EXPECT_EQ(seconds_as_ms("\"12.5\""), 12'500U);
    EXPECT_EQ(seconds_as_ms("0.001"), 1U);
    EXPECT_EQ(seconds_as_ms("0.0010"), 1U);
    EXPECT_EQ(seconds_as_ms("0.0000000001"), 1U) << "rounded up, as money is";
    for (const char* other : {"", "-1", "1e3", "1.x", ".5", "null", "true", "40000000", "\"\""}) {
        EXPECT_EQ(seconds_as_ms(other), std::nullopt) << other;
    }
}

INSTANTIATE_TEST_SUITE_P(
    dialect, Answer,
    testing::Values(
        AnswerCase{
            "chat",
            kChat,
            R"({"id":"x","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":19,"completion_tokens":10,
                      "total_tokens":29,"prompt_tokens_details":{"cached_tokens":16,"cache_write_tokens":3,"audio_tokens":0},
                      "completion_tokens_details":{"reasoning_tokens":7,"audio_tokens":0}},"system_fingerprint":null})",
            {19, 16, 3, 10, 7}},
        AnswerCase{"completions",
                   Operation::completions,
                   R"({"choices":[{"text":"hi"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}})",
                   {5, 0, 0, 7, 0}},
        AnswerCase{
            "responses",
            Operation::responses,
            R"({"output":[],"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":4},"output_tokens":87,
                      "output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}})",
            {36, 4, 0, 87, 64}},
        AnswerCase{"embeddings",
                   Operation::embeddings,
                   R"({"data":[{"embedding":[0.1,-2e-3]}],"usage":{"prompt_tokens":8,"total_tokens":8}})",
                   {8, 0, 0, 0, 0}},
        AnswerCase{
            "embeddings_of_vllm",
            Operation::embeddings,
            R"({"usage":{"prompt_tokens":8,"total_tokens":8,"completion_tokens":0,"prompt_tokens_details":null}})",
            {8, 0, 0, 0, 0}},
        AnswerCase{"embeddings_generate_nothing",
                   Operation::embeddings,
                   R"({"usage":{"prompt_tokens":8,"completion_tokens":5}})",
                   {8, 0, 0, 0, 0}},
        AnswerCase{"rerank_with_total_only",
                   Operation::rerank,
                   R"({"results":[],"usage":{"total_tokens":56}})",
                   {56, 0, 0, 0, 0}},
        AnswerCase{"score", Operation::score, R"({"usage":{"prompt_tokens":4,"total_tokens":9}})", {4, 0, 0, 0, 0}},
        AnswerCase{"moderations_without_usage", Operation::moderations, R"({"results":[{"flagged":false}]})", {}},
        AnswerCase{
            "chat_does_not_take_names_of_responses", kChat, R"({"usage":{"input_tokens":1,"output_tokens":2}})", {}},
        AnswerCase{"total_alone_says_nothing_about_a_chat", kChat, R"({"usage":{"total_tokens":15}})", {}}),
    answer_name);

INSTANTIATE_TEST_SUITE_P(
    wrong_counts, Answer,
    testing::Values(
        AnswerCase{"negative", kChat, R"({"usage":{"prompt_tokens":-1,"completion_tokens":2}})", {0, 0, 0, 2, 0}},
        AnswerCase{"fraction", kChat, R"({"usage":{"prompt_tokens":1.5,"completion_tokens":2}})", {0, 0, 0, 2, 0}},
        AnswerCase{"whole_float", kChat, R"({"usage":{"prompt_tokens":1.0,"completion_tokens":2}})", {0, 0, 0, 2, 0}},
        AnswerCase{"exponent", kChat, R"({"usage":{"prompt_tokens":1e3,"completion_tokens":2}})", {0, 0, 0, 2, 0}},
        AnswerCase{"string", kChat, R"({"usage":{"prompt_tokens":"12","completion_tokens":2}})", {0, 0, 0, 2, 0}},
        AnswerCase{"null", kChat, R"({"usage":{"prompt_tokens":null,"completion_tokens":2}})", {0, 0, 0, 2, 0}},
        AnswerCase{"array", kChat, R"({"usage":{"prompt_tokens":[12],"completion_tokens":2}})", {0, 0, 0, 2, 0}},
        AnswerCase{"largest", kChat, R"({"usage":{"prompt_tokens":1099511627776}})", {1099511627776, 0, 0, 0, 0}},
        AnswerCase{"above_the_largest", kChat, R"({"usage":{"prompt_tokens":1099511627777}})", {}},
        AnswerCase{"beyond_64_bits", kChat, R"({"usage":{"prompt_tokens":99999999999999999999999}})", {}},
        AnswerCase{"wrong_details",
                   kChat,
                   R"({"usage":{"prompt_tokens":3,"prompt_tokens_details":[1],"completion_tokens_details":"x"}})",
                   {3, 0, 0, 0, 0}},
        AnswerCase{
            "wrong_counts_in_details",
            kChat,
            R"({"usage":{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":-1,"cache_write_tokens":1.5}}})",
            {3, 0, 0, 0, 0}},
        AnswerCase{"details_alone", kChat, R"({"usage":{"prompt_tokens_details":{"cached_tokens":5}}})", {}},
        AnswerCase{"true_zero_is_not_absent",
                   kChat,
                   R"({"usage":{"prompt_tokens":0,"completion_tokens":0}})",
                   {0, 0, 0, 0, 0}},
        AnswerCase{"repeated_count",
                   kChat,
                   R"({"usage":{"prompt_tokens":1,"prompt_tokens":2,"prompt_tokens":-3}})",
                   {2, 0, 0, 0, 0}}),
    answer_name);

INSTANTIATE_TEST_SUITE_P(
    wrong_usage, Answer,
    testing::Values(
        AnswerCase{"absent", kChat, R"({"choices":[]})", {}}, AnswerCase{"null", kChat, R"({"usage":null})", {}},
        AnswerCase{"empty", kChat, R"({"usage":{}})", {}},
        AnswerCase{"array", kChat, R"({"usage":[{"prompt_tokens":1}]})", {}},
        AnswerCase{"string", kChat, R"({"usage":"{\"prompt_tokens\":1}"})", {}},
        AnswerCase{"nested", kChat, R"({"x":{"usage":{"prompt_tokens":1}},"y":[{"usage":{"prompt_tokens":1}}]})", {}},
        AnswerCase{"in_text", kChat, R"({"x":"\"usage\":{\"prompt_tokens\":1}"})", {}},
        AnswerCase{
            "last_valid_of_several",
            kChat,
            R"({"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2},"usage":{"prompt_tokens":-1},"usage":null})",
            {2, 0, 0, 0, 0}},
        AnswerCase{"escaped_name", kChat, R"({"\u0075sage":{"prompt_tokens":1}})", {1, 0, 0, 0, 0}}),
    answer_name);

INSTANTIATE_TEST_SUITE_P(
    wrong_answers, Answer,
    testing::Values(AnswerCase{"empty", kChat, "", {}}, AnswerCase{"space", kChat, " ", {}},
                    AnswerCase{"html", kChat, "<html>502</html>", {}},
                    AnswerCase{"array", kChat, R"([{"usage":{"prompt_tokens":1}}])", {}},
                    AnswerCase{"number", kChat, "12", {}},
                    AnswerCase{"cut_in_usage", kChat, R"({"usage":{"prompt_tokens":1)", {}},
                    AnswerCase{"cut_behind_usage", kChat, R"({"usage":{"prompt_tokens":1},"a":)", {}},
                    AnswerCase{"cut_in_a_string", kChat, R"({"usage":{"prompt_tokens":1},"a":"b)", {}},
                    AnswerCase{"not_utf8", kChat, "{\"usage\":{\"prompt_tokens\":1},\"a\":\"\xFF\"}", {}},
                    AnswerCase{"nul_bytes", kChat, std::string(8, '\0'), {}}),
    answer_name);

TEST(usage, of_an_object_alone_follows_the_same_rules) {
    EXPECT_EQ(counts_of(usage_of_object(kChat, R"({"prompt_tokens":1,"completion_tokens":2})")),
              (Counts{1, 0, 0, 2, 0}));
    EXPECT_EQ(counts_of(usage_of_object(Operation::responses, R"({"input_tokens":1})")), (Counts{1, 0, 0, 0, 0}));
    for (const char* text :
         {"", "null", "[]", "{}", "{\"prompt_tokens\":1", "{\"prompt_tokens\":1}}", "{\"prompt_tokens\":01x}"}) {
        EXPECT_EQ(counts_of(usage_of_object(kChat, text)), Counts{}) << text;
    }
}

TEST(usage, lacks_what_is_absent_or_not_believed_unless_the_total_tells_it) {
    struct SaidRow {
        Operation operation;
        const char* object;
        Counts counts;
        bool lacks_input;
        bool lacks_output;
    };
    const SaidRow rows[] = {
        {kChat, R"({"prompt_tokens":7,"completion_tokens":4})", {7, 0, 0, 4, 0}, false, false},
        {kChat, R"({"prompt_tokens":7,"completion_tokens":0})", {7, 0, 0, 0, 0}, false, false},
        {kChat, R"({"prompt_tokens":7})", {7, 0, 0, 0, 0}, false, true},
        {kChat, R"({"prompt_tokens":7,"completion_tokens":-4})", {7, 0, 0, 0, 0}, false, true},
        {kChat, R"({"prompt_tokens":"7","completion_tokens":4})", {0, 0, 0, 4, 0}, true, false},
        {kChat, R"({"prompt_tokens":7,"total_tokens":11})", {7, 0, 0, 4, 0}, false, false},
        {kChat, R"({"completion_tokens":4,"total_tokens":11})", {7, 0, 0, 4, 0}, false, false},
        {kChat, R"({"prompt_tokens":7,"total_tokens":6})", {7, 0, 0, 0, 0}, false, true},
        {kChat, R"({"prompt_tokens":7,"completion_tokens":4,"total_tokens":99})", {7, 0, 0, 4, 0}, false, false},
        {Operation::responses, R"({"input_tokens":7,"output_tokens":null})", {7, 0, 0, 0, 0}, false, true},
        {Operation::messages, R"({"output_tokens":4})", {0, 0, 0, 4, 0}, true, false},
        {Operation::messages, R"({"input_tokens":7,"cache_read_input_tokens":1})", {8, 1, 0, 0, 0}, false, true},
        {Operation::embeddings, R"({"prompt_tokens":7})", {7, 0, 0, 0, 0}, false, false},
        {Operation::embeddings, R"({"prompt_tokens":-7,"total_tokens":8})", {8, 0, 0, 0, 0}, false, false},
    };
    for (const SaidRow& row : rows) {
        const auto said = usage_of_object(row.operation, row.object);
        ASSERT_TRUE(said) << row.object;
        EXPECT_EQ(counts_of(said), row.counts) << row.object;
        EXPECT_EQ(said->lacks_input, row.lacks_input) << row.object;
        EXPECT_EQ(said->lacks_output, row.lacks_output) << row.object;
    }
}

TEST(usage, deeply_nested_answers_are_read_without_using_up_the_stack) {
    const std::size_t depth = 100'000;
    const std::string body =
        "{\"x\":" + std::string(depth, '[') + std::string(depth, ']') + ",\"usage\":{\"prompt_tokens\":1}}";
    EXPECT_EQ(read_answer(kChat, body), (Counts{1, 0, 0, 0, 0}));
}

TEST(usage, estimate_is_a_quarter_of_the_bytes_rounded_up) {
    EXPECT_EQ(counts_of(estimated_usage(0, 0)), (Counts{0, 0, 0, 0, 0}));
    EXPECT_EQ(counts_of(estimated_usage(1, 4)), (Counts{1, 0, 0, 1, 0}));
    EXPECT_EQ(counts_of(estimated_usage(5, 8)), (Counts{2, 0, 0, 2, 0}));
    EXPECT_EQ(estimated_usage(~std::uint64_t{0}, 0).input_tokens, (std::uint64_t{1} << 62));
}

TEST(usage, sources_have_the_names_of_the_ledger) {
    EXPECT_EQ(usage_source_name(UsageSource::none), "none");
    EXPECT_EQ(usage_source_name(UsageSource::final), "final");
    EXPECT_EQ(usage_source_name(UsageSource::continuous), "continuous");
    EXPECT_EQ(usage_source_name(UsageSource::estimated), "estimated");
}

}  // namespace
}  // namespace lumen

#include "lumen_core/request_facts.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace lumen {
namespace {

/// Reads a body with padding that would complete or continue it, if it were read.
FactsResult read(std::string body, Operation operation = Operation::chat_completions, char padding = '}') {
    const std::size_t size = body.size();
    body.append(kJsonPadding, padding);
    FactsReader reader;
    return reader.read(operation, {body.data(), size});
}

RequestFacts facts_of(const std::string& body, Operation operation = Operation::chat_completions) {
    FactsResult result = read(body, operation);
    EXPECT_TRUE(result.facts) << body << ": " << result.error.message;
    return result.facts.value_or(RequestFacts{});
}

void expect_refused(const std::string& body, const std::string& param, bool invalid_value,
                    Operation operation = Operation::chat_completions) {
    const FactsResult result = read(body, operation);
    ASSERT_FALSE(result.facts) << body;
    EXPECT_EQ(result.error.param, param) << body;
    EXPECT_EQ(result.error.invalid_value, invalid_value) << body;
    EXPECT_FALSE(result.error.message.empty());
}

std::string text_of(const std::string& body, RequestFacts::Span span) {
    return body.substr(span.offset, span.length);
}

TEST(request_facts, of_a_chat_are_read) {
    const std::string body = R"( {"messages":[{"role":"user","content":"Hi"}], "model" : "llama-3" ,"stream":true,
        "stream_options":{"include_usage":true},"max_tokens":100,"n":3})";
    const RequestFacts facts = facts_of(body);
    EXPECT_EQ(facts.model, "llama-3");
    EXPECT_TRUE(facts.stream);
    EXPECT_TRUE(facts.wants_usage);
    EXPECT_EQ(facts.max_output_tokens, 100U);
    EXPECT_EQ(facts.choices, 3U);
    EXPECT_EQ(facts.input_bytes, body.size());
    EXPECT_EQ(text_of(body, facts.model_value), "\"llama-3\"");
    EXPECT_EQ(text_of(body, facts.object_open), "{");
    ASSERT_TRUE(facts.stream_options && facts.stream_options->include_usage);
    EXPECT_EQ(text_of(body, *facts.stream_options->include_usage), "true");
}

TEST(request_facts, of_the_smallest_body_are_the_defaults) {
    const RequestFacts facts = facts_of(R"({"model":"m"})");
    EXPECT_EQ(facts.model, "m");
    EXPECT_FALSE(facts.stream);
    EXPECT_FALSE(facts.wants_usage);
    EXPECT_EQ(facts.max_output_tokens, std::nullopt);
    EXPECT_EQ(facts.choices, 1U);
    EXPECT_FALSE(facts.stream_options);
}

TEST(request_facts, null_is_the_same_as_absent) {
    const RequestFacts facts = facts_of(
        R"({"model":"m","stream":null,"stream_options":null,"max_tokens":null,"max_completion_tokens":null,"n":null})");
    EXPECT_FALSE(facts.stream);
    EXPECT_EQ(facts.max_output_tokens, std::nullopt);
    EXPECT_EQ(facts.choices, 1U);
    ASSERT_TRUE(facts.stream_options);
    EXPECT_TRUE(facts.stream_options->is_null);
    EXPECT_FALSE(facts_of(R"({"model":"m","stream_options":{"include_usage":null}})").wants_usage);
    expect_refused(R"({"model":null})", "model", true);
}

TEST(request_facts, max_output_tokens_is_the_larger_of_the_names_the_dialect_has) {
    EXPECT_EQ(facts_of(R"({"model":"m","max_tokens":5,"max_completion_tokens":7})").max_output_tokens, 7U);
    EXPECT_EQ(facts_of(R"({"model":"m","max_tokens":7,"max_completion_tokens":5})").max_output_tokens, 7U);
    EXPECT_EQ(facts_of(R"({"model":"m","max_completion_tokens":7,"max_tokens":5})").max_output_tokens, 7U);
    EXPECT_EQ(facts_of(R"({"model":"m","max_completion_tokens":7,"max_tokens":null})").max_output_tokens, 7U);
    EXPECT_EQ(facts_of(R"({"model":"m","max_tokens":null,"max_completion_tokens":0})").max_output_tokens, 0U);
    EXPECT_EQ(facts_of(R"({"model":"m","max_output_tokens":7})").max_output_tokens, std::nullopt);
    EXPECT_EQ(facts_of(R"({"model":"m","max_output_tokens":7,"max_tokens":9})", Operation::responses).max_output_tokens,
              7U);
    EXPECT_EQ(facts_of(R"({"model":"m","max_tokens":7})", Operation::completions).max_output_tokens, 7U);
    EXPECT_EQ(facts_of(R"({"model":"m","max_tokens":"x"})", Operation::embeddings).max_output_tokens, std::nullopt);
    EXPECT_EQ(facts_of(R"({"model":"m","max_tokens":2147483647})").max_output_tokens, 2'147'483'647U);
}

TEST(request_facts, numbers_out_of_bounds_or_of_other_types_are_refused_with_their_param) {
    for (const char* name : {"max_tokens", "max_completion_tokens"}) {
        for (const char* value :
             {"-1", "1.0", "1e3", "2147483648", "18446744073709551616", "\"5\"", "true", "[5]", "{}"}) {
            expect_refused(std::string{R"({"model":"m",")"} + name + "\":" + value + "}", name, true);
        }
    }
    for (const char* value : {"0", "129", "-1", "1.5", "\"1\"", "true"}) {
        expect_refused(std::string{R"({"model":"m","n":)"} + value + "}", "n", true);
        expect_refused(std::string{R"({"model":"m","best_of":)"} + value + "}", "best_of", true,
                       Operation::completions);
    }
    EXPECT_EQ(facts_of(R"({"model":"m","n":128})").choices, 128U);
}

TEST(request_facts, choices_are_the_larger_of_n_and_best_of_for_each_prompt) {
    const auto choices = [](const std::string& members) {
        return facts_of(R"({"model":"m",)" + members + "}", Operation::completions).choices;
    };
    EXPECT_EQ(choices(R"("prompt":"a","n":2,"best_of":5)"), 5U);
    EXPECT_EQ(choices(R"("best_of":3,"n":4)"), 4U);
    EXPECT_EQ(choices(R"("prompt":["a","b","c"],"n":2)"), 6U);
    EXPECT_EQ(choices(R"("n":2,"prompt":["a","b","c"])"), 6U);
    EXPECT_EQ(choices(R"("prompt":[1,2,3,4])"), 1U) << "one prompt of four tokens";
    EXPECT_EQ(choices(R"("prompt":[[1,2],[3,4]])"), 2U);
    EXPECT_EQ(choices(R"("prompt":[])"), 1U);
    EXPECT_EQ(facts_of(R"({"model":"m","prompt":["a","b"]})").choices, 1U) << "no prompt of a chat";

    std::string many = R"({"model":"m","prompt":[)";
    for (std::uint32_t i = 0; i < kMaxPrompts; ++i) many += "\"a\",";
    EXPECT_EQ(facts_of(many.substr(0, many.size() - 1) + "]}", Operation::completions).choices, kMaxPrompts);
    expect_refused(many + "\"a\"]}", "prompt", true, Operation::completions);
}

TEST(request_facts, flags_are_booleans_and_nothing_else) {
    for (const char* value : {"\"true\"", "1", "0", "[]", "{}", "\"\"", "tru", "truee"}) {
        expect_refused(std::string{R"({"model":"m","stream":)"} + value + "}", "stream", true);
        expect_refused(std::string{R"({"model":"m","stream_options":{"include_usage":)"} + value + "}}",
                       "stream_options.include_usage", true);
        expect_refused(std::string{R"({"model":"m","stream_options":{"continuous_usage_stats":)"} + value + "}}",
                       "stream_options.continuous_usage_stats", true);
    }
    for (const char* value : {"true", "[]", "1", "\"x\""}) {
        expect_refused(std::string{R"({"model":"m","stream_options":)"} + value + "}", "stream_options", true);
    }
}

TEST(request_facts, stream_is_only_of_operations_that_can_stream) {
    const std::string body = R"({"model":"m","stream":true})";
    for (const Operation operation : {Operation::chat_completions, Operation::completions, Operation::responses}) {
        EXPECT_TRUE(facts_of(body, operation).stream);
    }
    for (const Operation operation :
         {Operation::embeddings, Operation::rerank, Operation::score, Operation::moderations}) {
        EXPECT_FALSE(facts_of(body, operation).stream);
    }
}

TEST(request_facts, model_is_unescaped_and_bounded) {
    EXPECT_EQ(facts_of(R"({"model":"a\u002fb\/c\u00e9"})").model, "a/b/cé");
    EXPECT_EQ(facts_of(R"({"model":")" + std::string(128, 'a') + "\"}").model.size(), 128U);
    expect_refused(R"({"model":")" + std::string(129, 'a') + "\"}", "model", true);
    for (const char* value : {R"("")", R"("a\u0000b")", R"("a\n")", R"("\u007f")", R"("\u0080")", R"("a\u009f")", "5",
                              "true", "[\"m\"]", "{}"}) {
        expect_refused(std::string{"{\"model\":"} + value + "}", "model", true);
    }
    EXPECT_EQ(facts_of(R"({"model":"\u00a0"})").model, "\xC2\xA0") << "no control character";
}

TEST(request_facts, a_body_without_a_model_is_refused_without_a_code) {
    expect_refused("{}", "model", false);
    expect_refused(R"({"messages":[]})", "model", false);
    expect_refused(R"({"messages":[{"model":"m"}]})", "model", false);
}

TEST(request_facts, duplicates_are_refused_however_they_are_written) {
    expect_refused(R"({"model":"a","model":"b"})", "model", true);
    expect_refused(R"({"model":"a","mod\u0065l":"b"})", "model", true);
    expect_refused(R"({"\u006d\u006f\u0064\u0065\u006c":"a","stream":true,"model":"b"})", "model", true);
    expect_refused(R"({"model":"a","model":"a"})", "model", true);
    expect_refused(R"({"model":"a","x\/":1,"x/":2})", "x/", true);
    expect_refused(R"({"model":"a","stream_options":{"include_usage":true,"include_usag\u0065":false}})",
                   "stream_options.include_usage", true);
    expect_refused(R"({"model":"a","stream_options":{"x":1,"x":1}})", "stream_options.x", true);
    EXPECT_EQ(facts_of(R"({"model":"a","messages":[{"x":1,"x":2}]})").model, "a") << "deeper ones decide nothing here";
}

TEST(request_facts, members_we_read_have_one_spelling) {
    for (const char* name :
         {"Model", "MODEL", "mODEL", "\\u004dodel", "ſtream", "Stream", "stream_optionS", "MAX_TOKENS", "max_toKens",
          "max_to\\u212aens", "max_completion_tokenſ", "N", "Best_Of", "Prompt"}) {
        const FactsResult result = read(std::string{R"({"model":"m",")"} + name + "\":1}");
        ASSERT_FALSE(result.facts) << name;
        EXPECT_TRUE(result.error.invalid_value);
    }
    expect_refused(R"({"model":"m","stream_options":{"Include_Usage":true}})", "stream_options.Include_Usage", true);
    for (const char* name : {"models", "mode", "model_", " model", "modèl", "nn", "streamſ"}) {
        EXPECT_TRUE(read(std::string{R"({"model":"m",")"} + name + "\":1}").facts) << name;
    }
}

TEST(request_facts, names_too_many_or_too_long_are_not_repeated) {
    std::string body = R"({"model":"m")";
    for (std::size_t i = 1; i < kMaxMembers; ++i) body += ",\"x" + std::to_string(i) + "\":1";
    EXPECT_TRUE(read(body + "}").facts);
    expect_refused(body + ",\"y\":1}", "", false);

    const std::string name(1'000, 'x');
    const FactsResult twice = read(R"({"model":"m",")" + name + "\":1,\"" + name + "\":1}");
    ASSERT_FALSE(twice.facts);
    EXPECT_LT(twice.error.message.size(), 200U);
}

TEST(request_facts, what_is_not_one_whole_json_object_is_refused) {
    for (const char* body : {"",
                             " ",
                             "null",
                             "true",
                             "5",
                             "\"model\"",
                             "[]",
                             R"([{"model":"m"}])",
                             "{",
                             R"({"model":"m")",
                             R"({"model":"m",})",
                             R"({"model":"m"}})",
                             R"({"model":"m"} x)",
                             R"({"model":"m"}{})",
                             R"({"model":"m"},)",
                             R"({"model":"m"}null)",
                             R"({"model":"m" "x":1})",
                             R"({"model" "m"})",
                             R"({"model":"m",,"x":1})",
                             R"({model:"m"})",
                             R"({'model':'m'})",
                             R"({"model":"m","x":})",
                             R"({"model":"m","x"})",
                             R"({"model":"m",5:1})",
                             "\xEF\xBB\xBF{\"model\":\"m\"}",
                             R"({"model":"m"}/**/)",
                             R"(x{"model":"m"})",
                             R"({"model":"m" 1})",
                             R"({"model":"m}" )"}) {
        EXPECT_FALSE(read(body).facts) << body;
    }
    EXPECT_FALSE(read(std::string("{\"model\":\"m\"}\0", 14)).facts);
    EXPECT_TRUE(read(" \r\n\t{\"model\":\"m\"}\n \t\r\n").facts);
}

TEST(request_facts, everything_after_what_is_needed_is_checked_too) {
    for (const char* value : {"tru",
                              "nul",
                              "falsee",
                              "nulll",
                              "01",
                              "1.",
                              ".5",
                              "+1",
                              "-",
                              "1e",
                              "1e+",
                              "0x1",
                              "1_0",
                              "1e999",
                              "NaN",
                              "Infinity",
                              "[1,]",
                              "[,1]",
                              "[1 2]",
                              "[1",
                              "[1}",
                              "{]",
                              "{\"a\":1,}",
                              "{\"a\" 1}",
                              "{\"a\":1 \"b\":2}",
                              "{1:2}",
                              "[[[]]",
                              "\"\\x\"",
                              "\"\\u12\"",
                              "\"\\u12g4\"",
                              "\"\\ud800\"",
                              "\"\\ud800\\u0041\"",
                              "\"\\udc00\"",
                              "\"\t\"",
                              "\"\n\"",
                              "\"\x01\"",
                              "\"\xff\"",
                              "\"\xc0\xaf\"",
                              "\"\xed\xa0\x80\"",
                              "\"abc",
                              "{\"\\x\":1}",
                              "{\"a\":{\"\\q\":1}}",
                              "x",
                              "'a'",
                              "[\"a\"\"b\"]",
                              "\"a\"5"}) {
        for (const std::string& body : {std::string{R"({"model":"m","x":)"} + value + "}",
                                        std::string{R"({"model":"m","x":[{"y":)"} + value + "}]}",
                                        std::string{R"({"model":"m","stream_options":{"y":)"} + value + "}}",
                                        std::string{R"({"x":)"} + value + R"(,"model":"m"})"}) {
            EXPECT_FALSE(read(body).facts) << body;
        }
        EXPECT_FALSE(read(std::string{R"({"model":"m","prompt":[)"} + value + "]}", Operation::completions).facts)
            << value;
    }
    for (const char* value : {"0", "-0", "1.5e-7", "-12", "1E5", "123456789012345678901234567890", "\"\\ud83d\\ude00\"",
                              "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "{}", "[]", "[[],{}]", "\"é😀\"", "\"\x7f\""}) {
        EXPECT_TRUE(read(std::string{R"({"model":"m","x":)"} + value + "}").facts) << value;
    }
}

TEST(request_facts, no_byte_behind_the_body_completes_it) {
    const std::string body = R"({"model":"m","x":[{"y":[1,"a"]}],"stream_options":{"include_usage":true,"z":{}}})";
    for (std::size_t size = 0; size < body.size(); ++size) {
        for (const char padding : {'}', ']', ',', '"', ':', '{', '[', '1', ' ', '\0', 'e'}) {
            EXPECT_FALSE(read(body.substr(0, size), Operation::chat_completions, padding).facts)
                << body.substr(0, size) << " + " << padding;
        }
        // What really stands behind it in a buffer: the rest of the body.
        const std::string rest = body + std::string(kJsonPadding, ' ');
        EXPECT_FALSE(FactsReader{}.read(Operation::chat_completions, {rest.data(), size}).facts) << "cut at " << size;
    }
    EXPECT_TRUE(read(body).facts);
}

TEST(request_facts, nesting_is_bounded) {
    const auto nested = [](int depth, const std::string& open, const std::string& close) {
        std::string body = R"({"model":"m","x":)";
        for (int i = 1; i < depth; ++i) body += open;
        body += "1";
        for (int i = 1; i < depth; ++i) body += close;
        return body + "}";
    };
    // The object of the body is one level, and a scalar in the innermost container another.
    EXPECT_TRUE(read(nested(kMaxJsonDepth - 1, "[", "]")).facts);
    EXPECT_TRUE(read(nested(kMaxJsonDepth - 1, "{\"a\":", "}")).facts);
    EXPECT_FALSE(read(nested(kMaxJsonDepth, "[", "]")).facts);
    EXPECT_FALSE(read(nested(kMaxJsonDepth, "{\"a\":", "}")).facts);
    EXPECT_FALSE(read(nested(1'000'000, "[", "]")).facts);
}

TEST(request_facts, a_reader_reads_many_bodies_large_and_small) {
    FactsReader reader;
    std::mt19937_64 random{11};
    for (int i = 0; i < 60; ++i) {
        const std::size_t size = i % 10 == 0 ? 3'000'000 : random() % 5'000;
        const std::string filler = std::string(size, 'A') + (i % 2 == 0 ? "\\n" : "");
        std::string body = R"({"messages":[{"content":")" + filler + R"("}],"model":"m)" + std::to_string(i) + "\"}";
        const std::size_t length = body.size();
        body.append(kJsonPadding, '"');
        const FactsResult result = reader.read(Operation::chat_completions, {body.data(), length});
        ASSERT_TRUE(result.facts) << result.error.message;
        EXPECT_EQ(result.facts->model, "m" + std::to_string(i));
        EXPECT_EQ(text_of(body, result.facts->model_value), "\"m" + std::to_string(i) + "\"");
        EXPECT_FALSE(reader.read(Operation::chat_completions, {body.data(), length - 1}).facts)
            << "and after it a bad one";
    }
    EXPECT_FALSE(read(R"({"model":"m","x":")" + std::string(kMaxJsonBodyBytes, 'a') + "\"}").facts)
        << "longer than allowed";
}

TEST(request_facts, random_changes_of_a_body_are_facts_or_a_refusal) {
    const std::string seed_body =
        R"({"model":"m","stream":true,"stream_options":{"include_usage":false},"n":2,"messages":[{"a":[1,null,"x\n"]}]})";
    constexpr std::string_view kBytes = "{}[]\",:\\ \n0129-.eEtrufalsn\xC3\x80\x01";
    std::mt19937_64 random{20'261'123};
    int accepted = 0;
    for (int round = 0; round < 100'000; ++round) {
        std::string body = seed_body;
        for (std::uint64_t n = random() % 4 + 1; n > 0; --n) {
            const std::size_t at = random() % body.size();
            const char byte = kBytes[random() % kBytes.size()];
            switch (random() % 3) {
                case 0:
                    body[at] = byte;
                    break;
                case 1:
                    body.insert(at, 1, byte);
                    break;
                default:
                    body.erase(at, 1);
            }
        }
        const FactsResult result = read(body, Operation::chat_completions, kBytes[random() % kBytes.size()]);
        if (!result.facts) {
            ASSERT_FALSE(result.error.message.empty()) << body;
            continue;
        }
        ++accepted;
        ASSERT_EQ(body[result.facts->object_open.offset], '{') << body;
        ASSERT_EQ(text_of(body, result.facts->model_value).front(), '"') << body;
        ASSERT_EQ(text_of(body, result.facts->model_value).back(), '"') << body;
        ASSERT_FALSE(result.facts->model.empty()) << body;
    }
    EXPECT_GT(accepted, 1'000) << "changes so large that they prove nothing";
}

TEST(request_facts, estimates_bound_the_input) {
    constexpr Operation kChat = Operation::chat_completions;
    RequestFacts facts;
    EXPECT_EQ(estimated_input_tokens(kChat, facts), 1U);
    facts.input_bytes = 3;
    EXPECT_EQ(estimated_input_tokens(kChat, facts), 1U);
    facts.input_bytes = 4;
    EXPECT_EQ(estimated_input_tokens(kChat, facts), 2U);
    facts.input_bytes = 3'000;
    EXPECT_EQ(estimated_input_tokens(kChat, facts), 1'000U);
    EXPECT_EQ(upper_bound_input_tokens(kChat, facts, 0), 3'000U + kTemplateTokens);
    EXPECT_EQ(upper_bound_input_tokens(kChat, facts, 2'000), 2'000U) << "a model reads no more than its window";
    facts.choices = 3;
    EXPECT_EQ(upper_bound_input_tokens(kChat, facts, 1'000), 3'000U) << "of each prompt";
    EXPECT_EQ(upper_bound_input_tokens(Operation::embeddings, facts, 10), 3'000U + kTemplateTokens);
}

/// An address of a few bytes may be read as thousands of tokens, and megabytes of base64 as no more than that.
TEST(request_facts, images_and_files_have_bounds_of_their_own) {
    const std::string text =
        R"({"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"What is it?"})";
    const auto bound = [&](const std::string& part, Operation operation = Operation::chat_completions) {
        const RequestFacts facts = facts_of(text + part + "]}]}", operation);
        return upper_bound_input_tokens(operation, facts, 0) - facts.input_bytes - kTemplateTokens;
    };
    EXPECT_EQ(bound(""), 0U);
    EXPECT_EQ(bound(R"(,{"type":"image_url","image_url":{"url":"https://e.x/a.png"}})"), kMaxImageTokens);
    EXPECT_EQ(bound(R"(,{"type":"image","source":{"type":"url","url":"https://e.x/a.png"}})", Operation::messages),
              kMaxImageTokens);
    EXPECT_EQ(bound(R"(,{"type":"input_audio","input_audio":{"data":"AAAA"}})"), kMaxReferenceTokens);
    EXPECT_EQ(bound(R"(,{"video\u005furl":{"url":"https://e.x/v"}})"), kMaxReferenceTokens) << "however it is escaped";

    const RequestFacts response =
        facts_of(R"({"model":"m","input":"and?","previous_response_id":"resp_1"})", Operation::responses);
    EXPECT_EQ(response.reference_tokens, kMaxReferenceTokens);

    const std::string picture(400'000, 'Q');
    const RequestFacts chat =
        facts_of(text + R"(,{"type":"image_url","image_url":{"url":"data:image/png;base64,)" + picture + "\"}}]}]}");
    EXPECT_GT(upper_bound_input_tokens(Operation::chat_completions, chat, 0), picture.size());
    EXPECT_LT(estimated_input_tokens(Operation::chat_completions, chat), 2'000U) << "a picture is not read as text";
    const RequestFacts prose = facts_of(text + R"(,{"type":"text","text":")" + std::string(9'000, '.') + "\"}]}]}");
    EXPECT_GT(estimated_input_tokens(Operation::chat_completions, prose), 2'900U);
}

TEST(request_facts, pairs_are_read_in_all_combinations) {
    const RequestFacts facts =
        facts_of(R"({"model":"m","query":"0123456789","documents":["a","b","c"]})", Operation::rerank);
    EXPECT_EQ(facts.pairs, 3U);
    EXPECT_EQ(upper_bound_input_tokens(Operation::rerank, facts, 0),
              facts.input_bytes + kTemplateTokens + 3 * (12 + kPairTokens));
}

TEST(request_facts, spoken_characters_are_code_points) {
    const auto characters = [](const std::string& input) {
        return facts_of(R"({"model":"m","input":")" + input + "\"}", Operation::audio_speech).characters;
    };
    EXPECT_EQ(characters("hello"), 5U);
    EXPECT_EQ(characters(R"(gr\u00fc\u00df)"), 4U);
    EXPECT_EQ(characters("grüß 🙂"), 6U);
    EXPECT_EQ(characters(R"(\ud83d\ude42\n)"), 2U);
    EXPECT_EQ(characters(""), 0U);
    expect_refused(R"({"model":"m"})", "input", false, Operation::audio_speech);
    expect_refused(R"({"model":"m","input":["a"]})", "input", true, Operation::audio_speech);
}

TEST(request_facts, pictures_are_counted_and_streamed_one_at_a_time) {
    EXPECT_EQ(facts_of(R"({"model":"m","prompt":"a cat","n":4,"stream":false})", Operation::images_generations).choices,
              4U);
    EXPECT_TRUE(facts_of(R"({"model":"m","prompt":"a cat","n":1,"stream":true,"partial_images":2})",
                         Operation::images_generations)
                    .stream);
    for (const char* body : {R"({"model":"m","n":2,"prompt":"a cat","stream":true})",
                             R"({"stream":true,"model":"m","prompt":"c","n":3})"}) {
        expect_refused(body, "n", true, Operation::images_generations);
    }
    expect_refused(R"({"model":"m","prompt":"a cat","stream":"yes"})", "stream", true, Operation::images_generations);
}

TEST(request_facts, of_a_message_are_read) {
    const RequestFacts facts = facts_of(
        R"({"model":"claude","max_tokens":50,"stream":true,"system":"Be kind.","messages":[{"role":"user","content":"Hi"}]})",
        Operation::messages);
    EXPECT_EQ(facts.model, "claude");
    EXPECT_TRUE(facts.stream);
    EXPECT_EQ(facts.max_output_tokens, 50U);
    EXPECT_FALSE(facts.stream_options);
}

TEST(request_facts, only_priced_paths_are_operations) {
    EXPECT_EQ(operation_of_path("chat/completions"), Operation::chat_completions);
    EXPECT_EQ(operation_of_path("completions"), Operation::completions);
    EXPECT_EQ(operation_of_path("responses"), Operation::responses);
    EXPECT_EQ(operation_of_path("embeddings"), Operation::embeddings);
    EXPECT_EQ(operation_of_path("rerank"), Operation::rerank);
    EXPECT_EQ(operation_of_path("score"), Operation::score);
    EXPECT_EQ(operation_of_path("moderations"), Operation::moderations);
    for (const char* path : {"", "/", "chat", "chat/completions/", "/chat/completions", "Chat/Completions", "models",
                             "chat/completions?x", "responses/1", "files", "embeddings "}) {
        EXPECT_EQ(operation_of_path(path), std::nullopt) << path;
    }
    EXPECT_EQ(operation_name(Operation::chat_completions), "chat");
    EXPECT_EQ(operation_name(Operation::completions), "text_completion");
    EXPECT_EQ(operation_name(Operation::embeddings), "embeddings");
}

}  // namespace
}  // namespace lumen

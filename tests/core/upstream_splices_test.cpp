#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "lumen_core/request_facts.h"

namespace lumen {
namespace {

RequestFacts spliced_facts(std::string body) {
    const std::size_t size = body.size();
    body.append(kJsonPadding, ' ');
    FactsResult result = read_request_facts(Operation::chat_completions, {body.data(), size});
    EXPECT_TRUE(result.facts) << body << result.error.message;
    return result.facts.value_or(RequestFacts{});
}

std::string spliced(const std::string& body, const std::vector<Splice>& splices) {
    std::string result;
    std::size_t done = 0;
    for (const Splice& splice : splices) {
        EXPECT_GE(splice.offset, done) << "in order, none overlapping";
        EXPECT_LE(splice.offset + splice.length, body.size());
        result += body.substr(done, splice.offset - done) + splice.text;
        done = splice.offset + splice.length;
    }
    return result + body.substr(done);
}

struct Ask {
    bool usage = true;
    bool continuous = false;
};
std::string rewrite(const std::string& body, std::string_view model, Ask ask) {
    return spliced(body, upstream_splices(spliced_facts(body), body, model, ask.usage, ask.continuous));
}

TEST(upstream_splices, change_only_the_model_of_a_plain_request) {
    EXPECT_EQ(rewrite(R"( { "max_tokens" : 5, "model" : "a" , "x":"model" } )", "b", {}),
              R"( { "max_tokens" : 5, "model" : "b" , "x":"model" } )");
    EXPECT_EQ(rewrite(R"({"mod\u0065l":"\u0061"})", "b", {}), R"({"mod\u0065l":"b"})");
}

TEST(upstream_splices, are_none_if_nothing_changes) {
    EXPECT_TRUE(
        upstream_splices(spliced_facts(R"({"model":"\u0061"})"), R"({"model":"\u0061"})", "a", true, true).empty());
    const std::string asked = R"({"model":"a","stream":true,"stream_options":{"include_usage":true}})";
    EXPECT_TRUE(upstream_splices(spliced_facts(asked), asked, "a", true, true).empty());
    const std::string stream = R"({"model":"a","stream":true})";
    EXPECT_TRUE(upstream_splices(spliced_facts(stream), stream, "a", false, true).empty());
}

TEST(upstream_splices, escape_the_name_of_the_model) {
    EXPECT_EQ(rewrite(R"({"model":"a"})", "x\"\\\n/é", {}), R"({"model":"x\"\\\n/é"})");
}

TEST(upstream_splices, ask_streams_for_usage) {
    struct Case {
        const char* body;
        const char* expected;
        bool continuous;
    };
    const Case cases[] = {
        {R"({"model":"a","stream":true})", R"({"stream_options":{"include_usage":true},"model":"a","stream":true})",
         false},
        {R"( { "stream":true,"model":"a"})",
         R"( {"stream_options":{"include_usage":true,"continuous_usage_stats":true}, "stream":true,"model":"a"})",
         true},
        {R"({"model":"a","stream_options": null ,"stream":true})",
         R"({"model":"a","stream_options": {"include_usage":true} ,"stream":true})", false},
        {R"({"stream_options":null,"model":"a","stream":true})",
         R"({"stream_options":{"include_usage":true,"continuous_usage_stats":true},"model":"a","stream":true})", true},
        {R"({"model":"a","stream_options":{ },"stream":true})",
         R"({"model":"a","stream_options":{"include_usage":true },"stream":true})", false},
        {R"({"model":"a","stream_options":{"x":1},"stream":true})",
         R"({"model":"a","stream_options":{"include_usage":true,"continuous_usage_stats":true,"x":1},"stream":true})",
         true},
        {R"({"model":"a","stream_options":{"include_usage":false},"stream":true})",
         R"({"model":"a","stream_options":{"include_usage":true},"stream":true})", false},
        {R"({"model":"a","stream_options":{"include_usage": null },"stream":true})",
         R"({"model":"a","stream_options":{"include_usage": true },"stream":true})", false},
        {R"({"model":"a","stream_options":{"continuous_usage_stats":false,"include_usage":false},"stream":true})",
         R"({"model":"a","stream_options":{"continuous_usage_stats":true,"include_usage":true},"stream":true})", true},
        {R"({"model":"a","stream_options":{"continuous_usage_stats":true},"stream":true})",
         R"({"model":"a","stream_options":{"include_usage":true,"continuous_usage_stats":true},"stream":true})", true},
        {R"({"model":"a","stream_options":{"continuous_usage_stats":false},"stream":true})",
         R"({"model":"a","stream_options":{"include_usage":true,"continuous_usage_stats":false},"stream":true})",
         false},
    };
    for (const Case& c : cases) EXPECT_EQ(rewrite(c.body, "a", {true, c.continuous}), c.expected) << c.body;
}

TEST(upstream_splices, leave_the_client_the_usage_it_asked_for) {
    const std::string body = R"({"model":"a","stream":true,"stream_options":{"include_usage":true}})";
    EXPECT_EQ(rewrite(body, "a", {true, true}), body) << "a number in every chunk is not what it asked for";
}

TEST(upstream_splices, do_not_touch_requests_that_do_not_stream) {
    for (const char* body : {R"({"model":"a"})", R"({"model":"a","stream":false,"stream_options":null})",
                             R"({"model":"a","stream_options":{"include_usage":false}})"}) {
        EXPECT_EQ(rewrite(body, "a", {true, true}), body);
    }
}

/// A body of members in random order, with random white space.
std::string random_body(std::mt19937_64& random) {
    const auto space = [&] { return std::string(random() % 3, random() % 2 == 0 ? ' ' : '\n'); };
    std::vector<std::string> members{R"("model":"alias")", R"("stream":true)", R"("messages":[{"role":"user"}])",
                                     R"("temperature":0.70)", R"("user":"m\u0065 \"stream_options\": {}")"};
    switch (random() % 6) {
        case 0:
            members.emplace_back(R"("stream_options":null)");
            break;
        case 1:
            members.emplace_back(R"("stream_options":{})");
            break;
        case 2:
            members.emplace_back(R"("stream_options":{"include_usage":false})");
            break;
        case 3:
            members.emplace_back(R"("stream_options":{"y":[1,{}],"continuous_usage_stats":false})");
            break;
        case 4:
            members.emplace_back(R"("stream_options":{ "include_usage" : true , "z":null})");
            break;
        default:
            break;
    }
    std::shuffle(members.begin(), members.end(), random);
    std::string body = space() + "{" + space();
    for (std::size_t i = 0; i < members.size(); ++i) {
        body.append(i > 0 ? "," : "").append(space()).append(members[i]).append(space());
    }
    return body + "}" + space();
}

simdjson::dom::element parse(simdjson::dom::parser& parser, const std::string& text) {
    simdjson::dom::element element;
    EXPECT_EQ(parser.parse(text).get(element), simdjson::SUCCESS) << text;
    return element;
}

TEST(upstream_splices, of_random_bodies_give_what_was_asked_and_keep_the_rest) {
    std::mt19937_64 random{42};
    for (int round = 0; round < 20'000; ++round) {
        const std::string body = random_body(random);
        const bool continuous = random() % 2 == 0;
        const RequestFacts facts = spliced_facts(body);
        const std::string rewritten = rewrite(body, "real \"name\"", {true, continuous});
        SCOPED_TRACE(testing::Message() << body << " -> " << rewritten);

        simdjson::dom::parser before_parser;
        simdjson::dom::parser after_parser;
        const simdjson::dom::element before = parse(before_parser, body);
        const simdjson::dom::element after = parse(after_parser, rewritten);
        std::string_view model;
        bool flag = false;
        ASSERT_EQ(after["model"].get(model), simdjson::SUCCESS);
        ASSERT_EQ(model, "real \"name\"");
        ASSERT_EQ(after["stream_options"]["include_usage"].get(flag), simdjson::SUCCESS);
        ASSERT_TRUE(flag);
        if (continuous && !facts.wants_usage) {
            ASSERT_EQ(after["stream_options"]["continuous_usage_stats"].get(flag), simdjson::SUCCESS);
            ASSERT_TRUE(flag);
        }
        for (const char* kept : {"messages", "temperature", "user", "stream"}) {
            ASSERT_EQ(simdjson::minify(before[kept].value()), simdjson::minify(after[kept].value()));
        }
        const RequestFacts again = spliced_facts(rewritten);
        ASSERT_TRUE(again.wants_usage);
        ASSERT_TRUE(upstream_splices(again, rewritten, "real \"name\"", true, continuous).empty())
            << "nothing is left to do";
    }
}

}  // namespace
}  // namespace lumen

#include "lumen_core/sse.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <ostream>
#include <string>
#include <vector>

namespace lumen {
namespace {

std::string fixture(const std::string& name) {
    std::ifstream file(LUMEN_SOURCE_DIR "/tests/data/sse/" + name + ".sse", std::ios::binary);
    EXPECT_TRUE(file) << name;
    return {std::istreambuf_iterator<char>(file), {}};
}

/// All a meter gives out and tells about a stream.
struct Metered {
    std::string output;
    std::size_t closing_at = StreamOutput::npos;  ///< bytes of output before the closing event
    bool done = false;
    bool error = false;
    UsageSource source = UsageSource::none;
    std::vector<std::uint64_t> usage;  ///< input, cached, cache_write, output, reasoning
    std::uint64_t text = 0;

    friend bool operator==(const Metered& a, const Metered& b) {
        return a.output == b.output && a.closing_at == b.closing_at && a.done == b.done && a.error == b.error &&
               a.source == b.source && a.usage == b.usage && a.text == b.text;
    }
    friend std::ostream& operator<<(std::ostream& out, const Metered& m) {
        out << "closing at " << static_cast<std::ptrdiff_t>(m.closing_at) << (m.done ? " done" : "")
            << (m.error ? " error" : "") << " usage " << usage_source_name(m.source) << ":";
        for (const auto count : m.usage) out << ' ' << count;
        return out << " text " << m.text << "\n" << m.output;
    }
};

class Metering {
 public:
    Metering(Operation operation, bool hide_usage) : meter_(operation, hide_usage) {}

    void feed(std::string_view bytes) {
        const std::string gone_after_the_call(bytes);  // so that ASan sees a view that outlives it
        meter_.feed(gone_after_the_call, out_);
        take();
    }
    Metered finish() {
        meter_.finish(out_);
        take();
        const Usage& usage = meter_.usage();
        result_.done = meter_.done_seen();
        result_.error = meter_.error_seen();
        result_.source = meter_.usage_source();
        result_.usage = {usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens,
                         usage.reasoning_tokens};
        result_.text = meter_.output_text_bytes();
        return result_;
    }
    const std::string& output() const { return result_.output; }

 private:
    void take() {
        for (std::size_t i = 0; i < out_.pieces.size(); ++i) {
            if (i == out_.closing) result_.closing_at = result_.output.size();
            EXPECT_FALSE(out_.pieces[i].empty());
            result_.output += out_.pieces[i];
        }
        if (out_.closing != StreamOutput::npos) {
            EXPECT_LT(out_.closing, out_.pieces.size());
        }
    }

    StreamMeter meter_;
    StreamOutput out_;
    Metered result_;
};

Metered metered(Operation operation, bool hide_usage, const std::vector<std::string_view>& parts) {
    Metering metering(operation, hide_usage);
    for (const std::string_view part : parts) metering.feed(part);
    return metering.finish();
}

std::string with_line_ends(const std::string& text, const std::string& end) {
    std::string changed;
    for (const char c : text) {
        if (c == '\n') changed += end;
        if (c != '\n') changed += c;
    }
    return changed;
}

template <typename Case>
std::string stream_name(const testing::TestParamInfo<Case>& test) {
    return test.param.name;
}

struct StreamCase {
    const char* name;
    Operation operation;
    bool done;
    bool error;
    UsageSource source;
    std::vector<std::uint64_t> usage;
    std::uint64_t text;
};
void PrintTo(const StreamCase& stream, std::ostream* out) {
    *out << stream.name;
}

const std::vector<StreamCase> kChunkStreams = {
    {"final_usage", Operation::chat_completions, true, false, UsageSource::final, {19, 16, 0, 4, 2}, 28},
    {"continuous_usage", Operation::chat_completions, true, false, UsageSource::final, {11, 0, 0, 4, 0}, 13},
    {"cut_while_continuous", Operation::chat_completions, false, false, UsageSource::continuous, {5, 0, 0, 3, 0}, 6},
    {"no_usage", Operation::chat_completions, true, false, UsageSource::none, {0, 0, 0, 0, 0}, 5},
    {"azure", Operation::chat_completions, true, false, UsageSource::final, {8, 0, 0, 2, 0}, 9},
    {"many_lines", Operation::chat_completions, true, false, UsageSource::continuous, {3, 0, 0, 1, 0}, 5},
    {"error", Operation::chat_completions, true, true, UsageSource::final, {7, 0, 0, 2, 0}, 6},
    {"tool_calls", Operation::chat_completions, true, false, UsageSource::final, {19, 16, 0, 4, 2}, 35},
    {"strange_usage", Operation::chat_completions, false, false, UsageSource::continuous, {2, 0, 0, 3, 0}, 41},
    {"usage_in_last_choice", Operation::chat_completions, true, false, UsageSource::final, {6, 0, 0, 2, 0}, 7},
    {"completions", Operation::completions, true, false, UsageSource::final, {2, 0, 0, 3, 0}, 11},
};
const std::vector<StreamCase> kOtherStreams = {
    {"responses_completed", Operation::responses, true, false, UsageSource::final, {36, 4, 0, 87, 64}, 13},
    {"responses_incomplete", Operation::responses, true, false, UsageSource::final, {36, 4, 0, 87, 64}, 13},
    {"responses_failed", Operation::responses, true, true, UsageSource::none, {0, 0, 0, 0, 0}, 13},
    {"responses_error", Operation::responses, false, true, UsageSource::none, {0, 0, 0, 0, 0}, 13},
    {"garbage", Operation::chat_completions, false, false, UsageSource::none, {0, 0, 0, 0, 0}, 0},
};

void expect_facts(const StreamCase& stream, const Metered& seen) {
    EXPECT_EQ(seen.done, stream.done);
    EXPECT_EQ(seen.error, stream.error);
    EXPECT_EQ(usage_source_name(seen.source), usage_source_name(stream.source));
    EXPECT_EQ(seen.usage, stream.usage);
    EXPECT_EQ(seen.text, stream.text);
}

class AnyStream : public testing::TestWithParam<StreamCase> {};
INSTANTIATE_TEST_SUITE_P(chunks, AnyStream, testing::ValuesIn(kChunkStreams), stream_name<StreamCase>);
INSTANTIATE_TEST_SUITE_P(others, AnyStream, testing::ValuesIn(kOtherStreams), stream_name<StreamCase>);
class ChunkStream : public testing::TestWithParam<StreamCase> {};
INSTANTIATE_TEST_SUITE_P(chunks, ChunkStream, testing::ValuesIn(kChunkStreams), stream_name<StreamCase>);

TEST_P(AnyStream, passes_byte_identical_when_usage_may_be_seen) {
    const std::string stream = fixture(GetParam().name);
    const Metered seen = metered(GetParam().operation, false, {stream});
    EXPECT_EQ(seen.output, stream);
    expect_facts(GetParam(), seen);
}

TEST_P(ChunkStream, loses_only_usage_when_that_is_hidden) {
    const Metered seen = metered(GetParam().operation, true, {fixture(GetParam().name)});
    EXPECT_EQ(seen.output, fixture(GetParam().name + std::string(".hidden")));
    expect_facts(GetParam(), seen);
}

TEST_P(AnyStream, gives_the_same_wherever_it_is_cut) {
    for (const char* line_end : {"\n", "\r\n", "\r"}) {
        const std::string stream = with_line_ends(fixture(GetParam().name), line_end);
        for (const bool hide_usage : {false, true}) {
            const Metered whole = metered(GetParam().operation, hide_usage, {stream});
            expect_facts(GetParam(), whole);
            for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
                const auto parts = {std::string_view(stream).substr(0, cut), std::string_view(stream).substr(cut)};
                const Metered seen = metered(GetParam().operation, hide_usage, parts);
                ASSERT_EQ(seen, whole) << "cut at " << cut << (hide_usage ? ", hidden" : "");
            }
            std::vector<std::string_view> bytes;
            for (std::size_t i = 0; i < stream.size(); ++i) bytes.push_back(std::string_view(stream).substr(i, 1));
            ASSERT_EQ(metered(GetParam().operation, hide_usage, bytes), whole) << "byte by byte";
        }
    }
}

TEST_P(ChunkStream, hides_usage_the_same_with_every_line_end) {
    for (const char* line_end : {"\r\n", "\r"}) {
        const std::string stream = with_line_ends(fixture(GetParam().name), line_end);
        const std::string expected = with_line_ends(fixture(GetParam().name + std::string(".hidden")), line_end);
        EXPECT_EQ(metered(GetParam().operation, true, {stream}).output, expected);
    }
}

TEST(stream_meter, passes_what_it_is_fed_without_copying) {
    const std::string stream = fixture("final_usage");
    StreamMeter meter(Operation::chat_completions, false);
    StreamOutput out;
    const std::string_view before_closing = std::string_view(stream).substr(0, stream.find("data: [DONE]"));
    meter.feed(before_closing, out);
    ASSERT_EQ(out.pieces.size(), 1u);
    EXPECT_EQ(out.pieces[0].data(), stream.data());
    EXPECT_EQ(out.pieces[0].size(), before_closing.size());
}

TEST(stream_meter, cuts_usage_out_without_copying) {
    const std::string event = "data: {\"id\":1,\"usage\":null,\"choices\":[{}]}\n\n";
    StreamMeter meter(Operation::chat_completions, true);
    StreamOutput out;
    meter.feed(event, out);
    ASSERT_EQ(out.pieces.size(), 2u);
    EXPECT_EQ(out.pieces[0].data(), event.data());
    EXPECT_EQ(out.pieces[1].data(), event.data() + event.find(",\"choices\""));
}

TEST(stream_meter, holds_an_event_back_until_it_is_whole) {
    for (const bool hide_usage : {false, true}) {
        Metering metering(Operation::chat_completions, hide_usage);
        metering.feed(": comment\n\ndata: {\"choices\":[{\"delta\":{\"cont");
        EXPECT_EQ(metering.output(), ": comment\n\n");
        metering.feed("ent\":\"a\"}}]}\n");
        EXPECT_EQ(metering.output(), ": comment\n\n");
        metering.feed("\n");
        EXPECT_EQ(metering.output(), ": comment\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    }
}

TEST(stream_meter, names_the_closing_event_once_and_where_a_comment_fits) {
    const std::string stream = fixture("no_usage") + "\n\ndata: [DONE]\n\n";
    for (const bool hide_usage : {false, true}) {
        const Metered seen = metered(Operation::chat_completions, hide_usage, {stream});
        EXPECT_EQ(seen.closing_at, stream.find("data:[DONE]"));
    }
}

TEST(stream_meter, closes_a_response_at_its_final_event_whose_usage_is_known_by_then) {
    const std::string stream = fixture("responses_completed");
    const std::size_t closing = stream.find("event: response.completed");
    EXPECT_EQ(metered(Operation::responses, false, {stream}).closing_at, closing);

    StreamMeter meter(Operation::responses, false);
    StreamOutput out;
    for (const char c : stream) {
        meter.feed({&c, 1}, out);
        if (out.closing == StreamOutput::npos) continue;
        EXPECT_EQ(meter.usage().output_tokens, 87u);
        return;
    }
    FAIL() << "no closing event";
}

TEST(stream_meter, does_not_close_on_done_inside_other_data) {
    for (const char* stream :
         {"data: [DONE] \ndata: x\n\n", "data: x\ndata: [DONE]\n\n", "data: [DONE]x\n\n", "[DONE]\n\n",
          "data: \"[DONE]\"\n\n", "id: [DONE]\n\n", "data:  {}\n\ndata: [[DONE]]\n\n"}) {
        const Metered seen = metered(Operation::chat_completions, false, {stream});
        EXPECT_FALSE(seen.done) << stream;
        EXPECT_EQ(seen.closing_at, StreamOutput::npos) << stream;
    }
}

TEST(stream_meter, hides_nothing_in_the_responses_dialect) {
    const std::string stream = fixture("responses_completed");
    EXPECT_EQ(metered(Operation::responses, true, {stream}).output, stream);
}

TEST(stream_meter, ignores_usage_of_response_events_that_are_not_final) {
    const std::string stream =
        "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":{\"usage\":"
        "{\"input_tokens\":1,\"output_tokens\":1}}}\n\n";
    EXPECT_EQ(metered(Operation::responses, false, {stream}).source, UsageSource::none);
}

TEST(stream_meter, reads_response_events_without_event_lines) {
    const Metered seen = metered(Operation::responses, false,
                                 {"data: {\"response\": {\"usage\": {\"input_tokens\": 1, \"output_tokens\": 2}}, "
                                  "\"type\" : \"response.completed\"}\n\n"});
    EXPECT_TRUE(seen.done);
    EXPECT_EQ(seen.usage, (std::vector<std::uint64_t>{1, 0, 0, 2, 0}));
}

TEST(stream_meter, keeps_final_as_the_source_when_more_usage_follows) {
    const Metered seen =
        metered(Operation::chat_completions, false,
                {"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n"
                 "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":2}}\n\n"});
    EXPECT_EQ(seen.source, UsageSource::final);
    EXPECT_EQ(seen.usage, (std::vector<std::uint64_t>{2, 0, 0, 2, 0}));
}

TEST(stream_meter, true_zero_usage_is_usage) {
    const Metered seen =
        metered(Operation::chat_completions, false,
                {"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n"});
    EXPECT_EQ(seen.source, UsageSource::final);
}

TEST(stream_meter, an_error_is_seen_also_before_a_null_usage) {
    const std::string event = "data: {\"error\":{\"message\":\"x\"},\"usage\":null}\n\n";
    EXPECT_TRUE(metered(Operation::chat_completions, true, {event}).error);
}

TEST(stream_meter, null_error_is_no_error) {
    EXPECT_FALSE(metered(Operation::chat_completions, false, {"data: {\"error\":null,\"choices\":[]}\n\n"}).error);
    EXPECT_FALSE(metered(Operation::chat_completions, false, {"data: {\"x\":{\"error\":\"nested\"}}\n\n"}).error);
    EXPECT_TRUE(metered(Operation::chat_completions, false, {"data: {\"error\":\"flat\"}\n\n"}).error);
}

TEST(stream_meter, tells_an_error_of_the_upstream_without_what_it_gives_away) {
    const std::string said = R"(cannot reach http://10.0.0.7:8000/v1 with key sk-secret-of-ours)";
    const auto told = [](Operation operation, const std::string& event) {
        Metered whole = metered(operation, true, {event});
        EXPECT_TRUE(whole.error);
        for (const char* secret : {"10.0.0.7", "sk-secret"}) EXPECT_EQ(whole.output.find(secret), std::string::npos);
        EXPECT_NE(whole.output.find("cannot reach [removed] with key [removed]"), std::string::npos) << whole.output;
        return whole.output;
    };
    told(Operation::chat_completions, "data: {\"error\":{\"message\":\"" + said + "\",\"code\":500}}\n\n");
    const std::string message = told(Operation::messages,
                                     "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\","
                                     "\"message\":\"" +
                                         said + "\"}}\n\n");
    EXPECT_EQ(message.find("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\""), 0U);
    const std::string response =
        told(Operation::responses, "event: error\ndata: {\"type\":\"error\",\"message\":\"" + said + "\"}\n\n");
    EXPECT_EQ(response.find("event: error\ndata: {\"type\":\"error\","), 0U);
}

std::string message_event(const std::string& type, const std::string& members) {
    return "event: " + type + "\ndata: {\"type\":\"" + type + "\"" + (members.empty() ? "" : ",") + members + "}\n\n";
}
const std::string kMessageStart = message_event(
    "message_start",
    R"("message":{"id":"msg_1","content":[],"usage":{"input_tokens":11,"cache_creation_input_tokens":5,"cache_read_input_tokens":7,"output_tokens":1}})");
const std::string kMessageText =
    message_event("content_block_delta", R"("index":0,"delta":{"type":"text_delta","text":"hello"})") +
    message_event("content_block_delta", R"("index":0,"delta":{"type":"thinking_delta","thinking":"hm"})") +
    message_event("content_block_delta", R"("index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"})");
const std::string kMessageEnd =
    message_event("message_delta", R"("delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9})") +
    message_event("message_stop", "");

TEST(stream_meter, adds_up_a_message_from_its_start_and_its_deltas) {
    const std::string stream = kMessageStart + message_event("ping", "") + kMessageText + kMessageEnd;
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        const Metered seen = metered(Operation::messages, true, {stream.substr(0, cut), stream.substr(cut)});
        ASSERT_EQ(seen.output, stream);
        ASSERT_EQ(seen.closing_at, stream.find("event: message_stop"));
        ASSERT_TRUE(seen.done);
        ASSERT_EQ(seen.source, UsageSource::final);
        ASSERT_EQ(seen.usage, (std::vector<std::uint64_t>{23, 7, 5, 9, 0}));
        ASSERT_EQ(seen.text, 5U + 2U + 5U);
    }
}

TEST(stream_meter, of_a_message_that_breaks_off_knows_the_input) {
    StreamMeter meter(Operation::messages, true);
    StreamOutput out;
    meter.feed(kMessageStart + kMessageText, out);
    EXPECT_EQ(meter.usage_source(), UsageSource::continuous);
    EXPECT_TRUE(meter.said_usage().lacks_output);
    EXPECT_EQ(meter.usage().input_tokens, 23U);
    EXPECT_FALSE(meter.done_seen());
    meter.feed(message_event("message_delta", R"("usage":{"output_tokens":-9})"), out);
    EXPECT_TRUE(meter.said_usage().lacks_output) << "what nobody believes is not said";
    meter.feed(message_event("message_delta", R"("usage":{"input_tokens":0,"output_tokens":9})"), out);
    EXPECT_FALSE(meter.said_usage().lacks_output);
    EXPECT_EQ(meter.usage().input_tokens, 23U) << "counts only grow";
}

TEST(stream_meter, ends_a_transcript_at_its_last_event) {
    const Metered seen =
        metered(Operation::audio_transcriptions, true,
                {"data: {\"type\":\"transcript.text.delta\",\"delta\":\"I heard\"}\n\n",
                 "data: {\"type\":\"transcript.text.done\",\"text\":\"I heard\",\"usage\":{\"type\":\"tokens\","
                 "\"input_tokens\":14,\"output_tokens\":3,\"total_tokens\":17}}\n\ndata: [DONE]\n\n"});
    EXPECT_TRUE(seen.done);
    EXPECT_EQ(seen.usage, (std::vector<std::uint64_t>{14, 0, 0, 3, 0}));
    EXPECT_EQ(seen.text, 7U);
}

TEST(stream_meter, drops_usage_that_comes_without_choices_only_if_hidden_and_no_error) {
    const std::string usage = R"("usage":{"prompt_tokens":1,"completion_tokens":1})";
    const auto hidden = [](const std::string& members) {
        return metered(Operation::chat_completions, true, {"data: {" + members + "}\n\n"}).output;
    };
    EXPECT_EQ(hidden(usage), "");
    EXPECT_EQ(hidden(R"("choices": [ ],)" + usage), "");
    EXPECT_EQ(hidden(R"("choices":null,)" + usage), "");
    EXPECT_EQ(hidden(R"("choices":[],"usage":null)"), "data: {\"choices\":[]}\n\n");
    EXPECT_EQ(hidden(R"("choices":[],"error":{},)" + usage), "data: {\"choices\":[],\"error\":{}}\n\n");
}

struct CutCase {
    const char* name;
    const char* before;
    const char* after;
};
class CutOut : public testing::TestWithParam<CutCase> {};
INSTANTIATE_TEST_SUITE_P(
    member, CutOut,
    testing::Values(
        CutCase{"last", R"({"a":1,"usage":null})", R"({"a":1})"},
        CutCase{"first", R"({"usage":null,"a":1})", R"({"a":1})"},
        CutCase{"between", R"({"choices":[1],"usage":{"b":[1,{"c":"}"}]},"d":2})", R"({"choices":[1],"d":2})"},
        CutCase{"only", R"({"usage":null})", R"({})"}, CutCase{"only_with_space", R"({ "usage" : 1 })", R"({  })"},
        CutCase{"twice_alone", R"({"usage":null,"usage":null})", R"({})"},
        CutCase{"twice_first", R"({"usage":null, "usage":null, "a":1})", R"({"a":1})"},
        CutCase{"twice_last", R"({"a":1 , "usage":null ,"usage":true})", R"({"a":1})"},
        CutCase{"three_apart", R"({"usage":1,"a":1,"usage":2,"b":2,"usage":3})", R"({"a":1,"b":2})"},
        CutCase{"nested_stays", R"({"a":{"usage":null},"usage":null})", R"({"a":{"usage":null}})"},
        CutCase{"in_string_stays", R"({"a":"\"usage\":null","usage":null})", R"({"a":"\"usage\":null"})"},
        CutCase{"string_that_ends_with_it", R"({"a\"usage":null,"b":"\\"})", R"({"a\"usage":null,"b":"\\"})"},
        CutCase{"as_servers_write_it", R"({"choices":[{"delta":{}}],"usage":null})", R"({"choices":[{"delta":{}}]})"},
        CutCase{"or_with_spaces", R"({"choices": [{"d": "usage"}], "usage": null})",
                R"({"choices": [{"d": "usage"}]})"},
        CutCase{"nested_last_stays", R"({"a":{"b":[1],"usage":null}})", R"({"a":{"b":[1],"usage":null}})"},
        CutCase{"twice_at_the_end", R"({"a":"x","usage":1,"usage":null})", R"({"a":"x"})"},
        CutCase{"malformed_stays", R"({"a":1,"usage":null)", R"({"a":1,"usage":null)"}),
    stream_name<CutCase>);

void PrintTo(const CutCase& cut, std::ostream* out) {
    *out << cut.before;
}

TEST_P(CutOut, leaves_every_other_byte) {
    const auto event = [](const char* data) { return std::string("data: ") + data + "\n\n"; };
    EXPECT_EQ(metered(Operation::chat_completions, true, {event(GetParam().before)}).output, event(GetParam().after));
}

TEST(stream_meter, counts_text_unescaped) {
    const auto text_of = [](const std::string& json_string) {
        const std::string event = "data: {\"choices\":[{\"delta\":{\"content\":" + json_string + "}}]}\n\n";
        return metered(Operation::chat_completions, false, {event}).text;
    };
    EXPECT_EQ(text_of(R"("")"), 0u);
    EXPECT_EQ(text_of(R"("abc")"), 3u);
    EXPECT_EQ(text_of(R"("\n\"\\\/")"), 4u);
    EXPECT_EQ(text_of(R"("\u0041")"), 1u);
    EXPECT_EQ(text_of(R"("\u007f\u0080\u07FF\u0800\uFFFD")"), 1u + 2 + 2 + 3 + 3);
    EXPECT_EQ(text_of(R"("\uD83D\uDE00")"), 4u);
    EXPECT_EQ(text_of("\"\xE2\x82\xAC\""), 3u);
    EXPECT_EQ(text_of(R"("ends in an escape\)"), 17u + 1 + 3);  // unterminated: the rest of the line counts
    EXPECT_EQ(text_of(R"(["abc"])"), 0u);
    EXPECT_EQ(text_of(R"([{"type":"text","text":"abc"}])"), 3u);
}

TEST(stream_meter, passes_an_event_that_is_too_long_unread_and_counts_all_of_it) {
    const std::string before = "data: {\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\n\n";
    const std::string head = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1},\"pad\":\"";
    const std::string tail = "\"}\n\n";
    for (const std::size_t excess : {0u, 1u, 100'000u}) {
        const std::size_t padding = StreamMeter::kMaxEventBytes - head.size() - tail.size() + excess;
        const std::string stream = before + head + std::string(padding, 'x') + tail + before + "data: [DONE]\n\n";
        for (const bool hide_usage : {false, true}) {
            const Metered whole = metered(Operation::chat_completions, hide_usage, {stream});
            EXPECT_EQ(whole.source, excess != 0 ? UsageSource::none : UsageSource::final);
            EXPECT_EQ(whole.text, 6 + (excess != 0 ? StreamMeter::kMaxEventBytes + excess : 0));
            EXPECT_EQ(whole.output.size(),
                      stream.size() - (hide_usage && excess == 0 ? StreamMeter::kMaxEventBytes : 0));
            EXPECT_TRUE(whole.done);
            for (const std::size_t part : {4096u, 65537u, 1048575u}) {
                std::vector<std::string_view> parts;
                for (std::size_t at = 0; at < stream.size(); at += part) {
                    parts.push_back(std::string_view(stream).substr(at, part));
                }
                EXPECT_EQ(metered(Operation::chat_completions, hide_usage, parts), whole);
            }
        }
    }
}

TEST(stream_meter, a_too_long_event_after_one_that_was_split_keeps_both) {
    const std::string split_event = "data: {\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\n\n";
    const std::string stream = split_event + "data: " + std::string(StreamMeter::kMaxEventBytes, 'x') + "\n\n";
    for (const bool hide_usage : {false, true}) {
        const auto parts = {std::string_view(stream).substr(0, 20), std::string_view(stream).substr(20)};
        EXPECT_EQ(metered(Operation::chat_completions, hide_usage, parts).output, stream);
    }
}

}  // namespace
}  // namespace lumen

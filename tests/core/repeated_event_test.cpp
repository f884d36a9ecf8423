// Events that are the one before again but for their text are compared and not read: nothing that a meter gives out or
// tells may depend on that. A stream fed byte by byte is read event by event, so it says what must come of it.
#include "lumen_core/repeated_event.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "lumen_core/sse.h"

namespace lumen {
namespace {

struct RepeatedOutcome {
    std::string output;
    std::uint64_t text_bytes = 0;
    UsageSource source = UsageSource::none;
    std::uint64_t tokens = 0;
    bool done = false;
    bool error = false;
    bool operator==(const RepeatedOutcome& other) const {
        return output == other.output && text_bytes == other.text_bytes && source == other.source &&
               tokens == other.tokens && done == other.done && error == other.error;
    }
};

RepeatedOutcome repeated_outcome(Operation operation, bool hide_usage, std::string_view stream,
                                 std::size_t piece_bytes) {
    StreamMeter meter(operation, hide_usage);
    StreamOutput out;
    RepeatedOutcome outcome;
    const auto take = [&] {
        for (const std::string_view piece : out.pieces) outcome.output += piece;
    };
    for (; !stream.empty(); stream.remove_prefix(std::min(piece_bytes, stream.size()))) {
        const std::string piece(stream.substr(0, piece_bytes));
        meter.feed(piece, out);
        take();
    }
    meter.finish(out);
    take();
    outcome.text_bytes = meter.output_text_bytes();
    outcome.source = meter.usage_source();
    outcome.tokens = meter.usage().input_tokens + meter.usage().output_tokens;
    outcome.done = meter.done_seen();
    outcome.error = meter.error_seen();
    return outcome;
}

struct RepeatedForm {
    std::string name;
    Operation operation;
    std::string before;  ///< of an event's text
    std::string after;
};

const std::vector<RepeatedForm> kRepeatedForms{
    {"chunks", Operation::chat_completions, R"(data: {"id":"c","choices":[{"index":0,"delta":{"content":")",
     "\"},\"finish_reason\":null}]}\n\n"},
    {"chunks_with_null_usage", Operation::chat_completions, R"(data: {"choices":[{"index":0,"delta":{"content":")",
     "\"},\"finish_reason\":null}],\"usage\":null}\n\n"},
    {"chunks_with_usage_first", Operation::chat_completions,
     R"(data: {"usage":null,"choices":[{"index":0,"delta":{"content":")", "\"}}]}\n\n"},
    {"chunks_with_spaces", Operation::completions, R"(data: {"choices": [{"text": ")",
     "\", \"finish_reason\": null}], \"usage\": null}\n\n"},
    {"chunks_with_crlf", Operation::chat_completions, R"(data: {"choices":[{"delta":{"content":")",
     "\"}}],\"usage\":null}\r\n\r\n"},
    {"chunks_with_mixed_line_ends", Operation::chat_completions, R"(data: {"choices":[{"delta":{"content":")",
     "\"}}],\"usage\":null}\r\n\n"},
    {"reasoning", Operation::chat_completions, R"(data: {"choices":[{"delta":{"content":null,"reasoning_content":")",
     "\"}}],\"usage\":null}\n\n"},
    {"two_texts", Operation::chat_completions, R"(data: {"choices":[{"delta":{"content":"a"}},{"delta":{"content":")",
     "\"}}]}\n\n"},
    {"message", Operation::messages,
     "event: content_block_delta\ndata: "
     "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"",
     "\"}}\n\n"},
    {"response", Operation::responses, "event: response.output_text.delta\ndata: {\"delta\":\"",
     "\",\"type\":\"response.output_text.delta\"}\n\n"},
    {"malformed_behind_the_text", Operation::chat_completions, R"(data: {"choices":[{"delta":{"content":")",
     "\":1}}],\"usage\":null}\n\n"},
    {"no_json_at_all", Operation::chat_completions, R"(data: "content":")", "\",\n\n"},
    {"text_is_all", Operation::chat_completions, R"({"content":")", "\"}\n\n"},
};

/// What text may look like, and what no text is: ends of the string, of the line, of the event, other members.
const std::vector<std::string> kRepeatedTexts{
    "",
    "a",
    "Hello, world: how are you?",
    "sixteen bytes!!!",
    "seventeen bytes!!",
    R"(\n\t\"quoted\" \\ \/)",
    R"(\u00e9\u20ac\ud83d\ude00 \u0041)",
    "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80",
    R"(\u12)",
    R"(\u12"34)",
    R"(\u)",
    R"(\)",
    R"(\\)",
    R"(\x)",
    "\"",
    R"(","usage":{"prompt_tokens":3,"completion_tokens":4},"x":")",
    R"("}},{"delta":{"content":"second)",
    R"(","finish_reason":"stop)",
    R"(","error":{"message":"no"},"x":")",
    "line\nend",
    "line\rend",
    "line\r\nend",
    "event\n\nend",
    "event\n\ndata: [DONE]\n\n",
    "\\\n",
    "\\\r",
    "tab\tand\x01",
    "usage",
    R"(content\":\"x)",
    std::string("nul\0byte", 8),
    std::string(3000, 'x'),
};

class RepeatedEvents : public testing::TestWithParam<RepeatedForm> {};

TEST_P(RepeatedEvents, are_metered_and_passed_as_if_each_were_read) {
    const RepeatedForm& form = GetParam();
    const auto event = [&](const std::string& text) { return form.before + text + form.after; };
    for (const std::string& first : kRepeatedTexts) {
        for (const std::string& text : kRepeatedTexts) {
            const std::string stream = event("once") + event(first) + event(text) + event("more") + "data: [DONE]\n\n";
            for (const bool hide_usage : {false, true}) {
                const RepeatedOutcome read = repeated_outcome(form.operation, hide_usage, stream, 1);
                EXPECT_TRUE(repeated_outcome(form.operation, hide_usage, stream, stream.size()) == read) << stream;
                EXPECT_TRUE(repeated_outcome(form.operation, hide_usage, stream, event("once").size()) == read)
                    << stream;
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(dialect, RepeatedEvents, testing::ValuesIn(kRepeatedForms),
                         [](const auto& row) { return row.param.name; });

const std::string kBeforeText = R"(data: {"choices":[{"delta":{"content":")";
const std::string kAfterText = "\"}}],\"usage\":null}\n\n";

EventPart text_in(const std::string& event) {
    return {kBeforeText.size(), event.size() - kAfterText.size()};
}

TEST(RepeatedEvent, is_recognised_by_what_stands_around_its_text) {
    RepeatedEvent repeated;
    const std::string known = kBeforeText + "Once" + kAfterText;
    const std::size_t cut_at = known.find(",\"usage\"");
    repeated.learn(known, text_in(known), {cut_at, cut_at + 13});
    const std::string next = kBeforeText + R"( upon \u20ac)" + kAfterText;
    const RepeatedEvent::Match match = repeated.match(next + "data: more");
    EXPECT_EQ(match.event_bytes, next.size());
    EXPECT_EQ(match.text_bytes, 9u);
    EXPECT_EQ(next.substr(match.cut.begin, match.cut.end - match.cut.begin), ",\"usage\":null");
    for (std::size_t length = 0; length < next.size(); ++length) {
        EXPECT_EQ(repeated.match(std::string_view(next).substr(0, length)).event_bytes, 0u) << "cut at " << length;
    }
}

TEST(RepeatedEvent, one_changed_byte_around_the_text_is_another_event) {
    RepeatedEvent repeated;
    const std::string known = kBeforeText + "Once" + kAfterText;
    repeated.learn(known, text_in(known), {});
    for (std::size_t at = 0; at < known.size(); ++at) {
        if (at >= text_in(known).begin && at < text_in(known).end) continue;
        std::string changed = known;
        changed[at] ^= 0x01;
        EXPECT_EQ(repeated.match(changed).event_bytes, 0u) << "at " << at;
    }
    EXPECT_EQ(repeated.match(known).event_bytes, known.size());
}

TEST(RepeatedEvent, where_all_events_differ_nothing_is_kept_any_more) {
    RepeatedEvent repeated;
    std::string event;
    for (int i = 0; i < 100; ++i) {
        event = "data: {\"sequence\":" + std::to_string(i) + ",\"delta\":\"x\"}\n\n";
        const std::size_t text = event.find("\"x\"") + 1;
        repeated.learn(event, {text, text + 1}, {});
    }
    EXPECT_EQ(repeated.match(event).event_bytes, 0u);
}

}  // namespace
}  // namespace lumen

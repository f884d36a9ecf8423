// The meter against a naive one: it has the whole stream at hand, as structure, and parses every event with a real
// parser.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "lumen_core/sse.h"

namespace lumen {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kStreams = 6000;

/// An event as it was made. `members` are those of its JSON object, names may repeat.
struct MadeEvent {
    std::string passed_before;  ///< comments and other fields, ended by a blank line
    std::string lines_before;   ///< the same, of this event
    std::string data_prefix;
    std::vector<std::pair<std::string, Json>> members;
    std::string literal;  ///< instead of an object, if not empty
    bool spaced = false;  ///< ", " and ": ", as Python writes
    std::string line_end;
    bool is_responses = false;
};

std::string dumped(const Json& value, bool spaced) {
    if (!spaced || !value.is_structured()) return value.dump();
    std::string text;
    for (auto item = value.begin(); item != value.end(); ++item) {
        if (!text.empty()) text += ", ";
        if (value.is_object()) text += Json(item.key()).dump() + ": ";
        text += dumped(item.value(), spaced);
    }
    return value.is_object() ? "{" + text + "}" : "[" + text + "]";
}

std::string event_text(const MadeEvent& event, bool without_usage) {
    std::string data = event.literal;
    if (data.empty()) {
        for (const auto& [name, value] : event.members) {
            if (without_usage && name == "usage") continue;
            if (!data.empty()) data += event.spaced ? ", " : ",";
            data += Json(name).dump() + (event.spaced ? ": " : ":") + dumped(value, event.spaced);
        }
        data = "{" + data + "}";
    }
    return event.passed_before + event.lines_before + event.data_prefix + data + event.line_end + event.line_end;
}

/// What a reader with all the time in the world makes of a stream.
struct Naive {
    std::string output;
    bool done = false;
    bool error = false;
    UsageSource source = UsageSource::none;
    Usage usage;
    std::uint64_t text = 0;

    static bool count_of(const Json& object, const char* name, std::uint64_t& count) {
        const auto found = object.find(name);
        if (found == object.end() || !found->is_number_unsigned() || found->get<std::uint64_t>() > kMaxUsageCount) {
            return false;
        }
        count = found->get<std::uint64_t>();
        return true;
    }

    void take_usage(const Json& value, const char* input, const char* output_name, bool final) {
        if (!value.is_object()) return;
        Usage read;
        const bool has_input = count_of(value, input, read.input_tokens);
        const bool has_output = count_of(value, output_name, read.output_tokens);
        std::uint64_t total = 0;
        const bool has_total = count_of(value, "total_tokens", total);
        if (has_total && has_input && !has_output && total >= read.input_tokens) {
            read.output_tokens = total - read.input_tokens;
        }
        if (has_total && has_output && !has_input && total >= read.output_tokens) {
            read.input_tokens = total - read.output_tokens;
        }
        if (!has_input && !has_output) return;
        for (const auto& [name, details] : value.items()) {
            if (!details.is_object()) continue;
            if (name.rfind("prompt_", 0) == 0 || name.rfind("input_", 0) == 0) {
                count_of(details, "cached_tokens", read.cached_tokens);
                count_of(details, "cache_write_tokens", read.cache_write_tokens);
            } else {
                count_of(details, "reasoning_tokens", read.reasoning_tokens);
            }
        }
        usage = read;
        if (source != UsageSource::final) source = final ? UsageSource::final : UsageSource::continuous;
    }

    static std::uint64_t bytes_of(const Json& object, const char* name) {
        const auto found = object.find(name);
        return found != object.end() && found->is_string() ? found->get<std::string>().size() : 0;
    }

    /// Text wherever it is, with reasoning under two names counted once.
    void take_text(const Json& value, std::uint64_t& reasoning, std::uint64_t& reasoning_content) {
        if (value.is_object()) {
            for (const char* name : {"content", "text", "arguments", "refusal"}) text += bytes_of(value, name);
            reasoning += bytes_of(value, "reasoning");
            reasoning_content += bytes_of(value, "reasoning_content");
        }
        if (value.is_structured()) {
            for (const Json& inner : value) take_text(inner, reasoning, reasoning_content);
        }
    }

    void take(const MadeEvent& event, bool hide_usage) {
        const std::string whole = event_text(event, false);
        if (event.literal == "[DONE]") done = true;
        if (!event.literal.empty()) {
            output += whole;
            return;
        }
        bool has_usage_object = false;
        bool has_choice = false;
        bool finishes = false;
        bool has_error = false;
        std::uint64_t reasoning = 0;
        std::uint64_t reasoning_content = 0;
        for (const auto& [name, value] : event.members) {
            if (name == "choices") {
                has_choice = !value.empty();
                for (const Json& choice : value) finishes = finishes || choice.at("finish_reason").is_string();
            }
            if (name == "usage") has_usage_object = has_usage_object || value.is_object();
            if (name == "error") has_error = !value.is_null();
            if (!event.is_responses) take_text(value, reasoning, reasoning_content);
        }
        text += std::max(reasoning, reasoning_content);
        for (const auto& [name, value] : event.members) {
            if (name == "usage" && !event.is_responses) {
                take_usage(value, "prompt_tokens", "completion_tokens", !has_choice || finishes);
            }
        }
        if (event.is_responses) take_response(event);
        error = error || has_error;
        if (hide_usage && !event.is_responses && has_usage_object && !has_choice && !has_error) {
            output += event.passed_before;
            return;
        }
        output += event_text(event, hide_usage && !event.is_responses);
    }

    void take_response(const MadeEvent& event) {
        std::string type;
        const Json* response = nullptr;
        for (const auto& [name, value] : event.members) {
            if (name == "type") type = value.get<std::string>();
            if (name == "response") response = &value;
            if (name == "delta" && value.is_string()) text += value.get<std::string>().size();
        }
        error = error || type == "error" || type == "response.failed";
        if (type != "response.completed" && type != "response.incomplete" && type != "response.failed") return;
        done = true;
        if (response != nullptr && response->contains("usage")) {
            take_usage(response->at("usage"), "input_tokens", "output_tokens", true);
        }
    }
};

class StreamMaker {
 public:
    explicit StreamMaker(std::uint64_t seed) : random_(seed) {}

    std::size_t below(std::size_t bound) { return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_); }
    bool one_in(std::size_t n) { return below(n) == 0; }

    std::string text() {
        static const std::vector<std::string> kParts = {"a",
                                                        "word ",
                                                        "\"usage\":",
                                                        "\"usage\":{\"prompt_tokens\":5}",
                                                        "\\",
                                                        "\"",
                                                        "\n",
                                                        "\r\n",
                                                        "\t",
                                                        "\xC3\xB6",
                                                        "\xE4\xBD\xA0",
                                                        "\xF0\x9F\x98\x80",
                                                        "}",
                                                        "]",
                                                        "{",
                                                        "[",
                                                        " :",  // two in a row would look like an address
                                                        ",",
                                                        "data: [DONE]\n\n",
                                                        "\"content\":\"",
                                                        "\x01",
                                                        "\"error\":1",
                                                        "</s>"};
        std::string made;
        for (std::size_t n = below(5); n > 0; --n) made += kParts[below(kParts.size())];
        return made;
    }

    Json count() {
        switch (below(8)) {
            case 0:
                return nullptr;
            case 1:
                return -1 - static_cast<std::int64_t>(below(100));
            case 2:
                return 1.5;
            case 3:
                return text();
            case 4:
                return kMaxUsageCount + below(2);
            default:
                return below(100000);
        }
    }

    Json usage(bool responses) {
        switch (below(10)) {
            case 0:
                return nullptr;
            case 1:
                return text();
            case 2:
                return Json::array({count()});
            default:
                break;
        }
        Json made = Json::object();
        if (!one_in(6)) made[responses ? "input_tokens" : "prompt_tokens"] = count();
        if (!one_in(6)) made[responses ? "output_tokens" : "completion_tokens"] = count();
        if (one_in(2)) made["total_tokens"] = count();
        if (one_in(3)) {
            made[responses ? "input_tokens_details" : "prompt_tokens_details"] =
                one_in(3) ? count() : Json{{"cached_tokens", count()}, {"cache_write_tokens", count()}};
        }
        if (one_in(3)) {
            made[responses ? "output_tokens_details" : "completion_tokens_details"] =
                one_in(3) ? count() : Json{{"x", text()}, {"reasoning_tokens", count()}};
        }
        return made;
    }

    Json choices() {
        Json made = Json::array();
        for (std::size_t n = one_in(4) ? 0 : 1 + below(2); n > 0; --n) {
            Json delta = Json::object();
            if (!one_in(4)) delta["content"] = one_in(9) ? Json(nullptr) : Json(text());
            if (one_in(4)) delta["reasoning"] = text();
            if (one_in(4)) delta["reasoning_content"] = text();
            if (one_in(6)) delta["tool_calls"] = Json::array({{{"function", {{"name", "f"}, {"arguments", text()}}}}});
            if (one_in(9)) delta["refusal"] = text();
            made.push_back(
                {{"index", n}, {"delta", delta}, {"finish_reason", one_in(5) ? Json("stop") : Json(nullptr)}});
        }
        return made;
    }

    MadeEvent event(bool responses) {
        MadeEvent made;
        made.is_responses = responses;
        made.line_end = line_end_;
        made.data_prefix = one_in(3) ? "data:" : "data: ";
        made.spaced = one_in(3);
        if (one_in(8)) made.lines_before += ": " + std::to_string(below(100)) + line_end_;
        if (one_in(8)) made.lines_before += "id: 7" + line_end_;
        if (one_in(20)) {
            made.passed_before = made.lines_before + line_end_;
            made.lines_before.clear();
        }
        if (one_in(12)) {
            static const std::vector<std::string> kLiterals = {"[DONE]", "x", "[]", "\"usage\":1", "{", "12"};
            made.literal = kLiterals[below(kLiterals.size())];
            return made;
        }
        if (responses) {
            static const std::vector<std::string> kTypes = {"response.created",   "response.output_text.delta",
                                                            "response.completed", "response.incomplete",
                                                            "response.failed",    "error"};
            const std::string type = kTypes[below(kTypes.size())];
            if (one_in(2)) made.lines_before += "event: " + type + line_end_;
            made.members.emplace_back("type", type);
            if (one_in(2)) made.members.emplace_back("delta", text());
            if (one_in(2)) made.members.emplace_back("response", Json{{"id", text()}, {"usage", usage(true)}});
        } else {
            if (!one_in(4)) made.members.emplace_back("id", text());
            if (one_in(4)) made.members.emplace_back("usage", usage(false));
            if (!one_in(6)) made.members.emplace_back("choices", choices());
            if (one_in(3))
                made.members.emplace_back("x", Json{{"usage", usage(false)}, {"y", {1.5e300, text(), false}}});
            if (one_in(2)) made.members.emplace_back("usage", usage(false));
            if (one_in(12)) made.members.emplace_back("usage", usage(false));
        }
        if (one_in(15)) made.members.emplace_back("error", one_in(2) ? Json(nullptr) : Json{{"message", text()}});
        return made;
    }

    std::vector<MadeEvent> stream(bool responses) {
        static const std::vector<std::string> kLineEnds = {"\n", "\n", "\r\n", "\r"};
        line_end_ = kLineEnds[below(kLineEnds.size())];
        std::vector<MadeEvent> made;
        for (std::size_t n = 1 + below(8); n > 0; --n) made.push_back(event(responses));
        return made;
    }

 private:
    std::mt19937_64 random_;
    std::string line_end_;
};

TEST(stream_meter_random, agrees_with_a_naive_reader_however_the_stream_is_cut) {
    for (std::uint64_t seed = 1; seed <= kStreams; ++seed) {
        StreamMaker maker(seed);
        const bool responses = maker.one_in(4);
        const bool hide_usage = maker.one_in(2);
        Naive expected;
        std::string stream;
        for (const MadeEvent& event : maker.stream(responses)) {
            stream += event_text(event, false);
            expected.take(event, hide_usage);
        }

        StreamMeter meter(responses ? Operation::responses : Operation::chat_completions, hide_usage);
        StreamOutput out;
        std::string output;
        const auto take = [&] {
            for (const std::string_view piece : out.pieces) output += piece;
        };
        const std::size_t longest_part = 1 + maker.below(maker.one_in(2) ? 8 : 400);
        for (std::size_t at = 0; at < stream.size();) {
            const std::string part = stream.substr(at, 1 + maker.below(longest_part));
            meter.feed(part, out);
            take();
            at += part.size();
        }
        meter.finish(out);
        take();

        const auto counts = [](const Usage& u) {
            return std::vector<std::uint64_t>{u.input_tokens, u.cached_tokens, u.cache_write_tokens, u.output_tokens,
                                              u.reasoning_tokens};
        };
        ASSERT_EQ(output, expected.output) << "seed " << seed << " of\n" << stream;
        ASSERT_EQ(meter.done_seen(), expected.done) << "seed " << seed << " of\n" << stream;
        ASSERT_EQ(meter.error_seen(), expected.error) << "seed " << seed << " of\n" << stream;
        ASSERT_EQ(counts(meter.usage()), counts(expected.usage)) << "seed " << seed << " of\n" << stream;
        ASSERT_EQ(usage_source_name(meter.usage_source()), usage_source_name(expected.source))
            << "seed " << seed << " of\n"
            << stream;
        ASSERT_EQ(meter.output_text_bytes(), expected.text) << "seed " << seed << " of\n" << stream;
    }
}

}  // namespace
}  // namespace lumen

#include "lumen_core/usage.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>

#include "lumen_core/json_members.h"
#include "lumen_core/request_facts.h"

namespace lumen {
namespace {

constexpr std::uint64_t kBytesPerToken = 4;  // of the estimate; English prose has a little more, code and JSON less

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING, "answers are parsed where they lie");

std::optional<std::uint64_t> count_of(std::string_view value) noexcept {
    std::uint64_t count = 0;
    const char* end = value.data() + value.size();
    const auto [stop, error] = std::from_chars(value.data(), end, count);
    if (error != std::errc{} || stop != end || count > kMaxUsageCount) return std::nullopt;
    return count;
}

/// The names one dialect gives to the same counts. A name that is empty is not read.
struct FieldNames {
    std::string_view input;
    std::string_view output;
    std::string_view input_details;
    std::string_view output_details;
    bool total_is_input = false;  ///< nothing is generated, so some servers send the total alone
};

const FieldNames& field_names(Operation operation) noexcept {
    static constexpr FieldNames kGenerating{"prompt_tokens", "completion_tokens", "prompt_tokens_details",
                                            "completion_tokens_details", false};
    static constexpr FieldNames kResponses{"input_tokens", "output_tokens", "input_tokens_details",
                                           "output_tokens_details", false};
    static constexpr FieldNames kReading{"prompt_tokens", "", "prompt_tokens_details", "", true};
    switch (operation) {
        case Operation::chat_completions:
        case Operation::completions:
            return kGenerating;
        case Operation::responses:
        case Operation::audio_transcriptions:
        case Operation::audio_translations:
        case Operation::audio_speech:
        case Operation::images_generations:
            return kResponses;
        case Operation::embeddings:
        case Operation::rerank:
        case Operation::score:
        case Operation::moderations:
        case Operation::messages:
        case Operation::count_tokens:
            break;
    }
    return kReading;
}

/// A count that is there and valid replaces what was read before; anything else leaves it.
void take_count(std::string_view value, std::uint64_t& into) noexcept {
    if (const auto count = count_of(value)) into = *count;
}

void take_input_details(std::string_view details, Usage& usage) noexcept {
    JsonMembers members(details);
    for (JsonMember member; members.next(member);) {
        if (member.key == "cached_tokens") take_count(member.value, usage.cached_tokens);
        if (member.key == "cache_write_tokens") take_count(member.value, usage.cache_write_tokens);
    }
}

void take_output_details(std::string_view details, Usage& usage) noexcept {
    JsonMembers members(details);
    for (JsonMember member; members.next(member);) {
        if (member.key == "reasoning_tokens") take_count(member.value, usage.reasoning_tokens);
    }
}

}  // namespace

std::string_view usage_source_name(UsageSource source) noexcept {
    switch (source) {
        case UsageSource::final:
            return "final";
        case UsageSource::continuous:
            return "continuous";
        case UsageSource::estimated:
            return "estimated";
        case UsageSource::none:
            break;
    }
    return "none";
}

void MessageCounts::take(std::string_view usage_object) noexcept {
    const auto take_larger = [](std::string_view value, std::optional<std::uint64_t>& into) noexcept {
        if (const auto count = count_of(value)) into = std::max(into, count);
    };
    MessageCounts read = *this;
    JsonMembers members(usage_object);
    for (JsonMember member; members.next(member);) {
        if (member.key == "input_tokens") take_larger(member.value, read.input);
        if (member.key == "cache_read_input_tokens") take_larger(member.value, read.cache_read);
        if (member.key == "cache_creation_input_tokens") take_larger(member.value, read.cache_write);
        if (member.key == "output_tokens") take_larger(member.value, read.output);
    }
    if (!members.malformed()) *this = read;
}

std::optional<SaidUsage> MessageCounts::usage() const noexcept {
    if (!input && !output) return std::nullopt;
    SaidUsage said{{}, !input, !output};
    Usage& usage = said.usage;
    usage.cached_tokens = cache_read.value_or(0);
    usage.cache_write_tokens = cache_write.value_or(0);
    usage.input_tokens = input.value_or(0) + usage.cached_tokens + usage.cache_write_tokens;
    usage.output_tokens = output.value_or(0);
    return said;
}

std::optional<std::uint64_t> seconds_as_ms(std::string_view value) noexcept {
    constexpr std::uint64_t kMostSeconds = 366 * 24 * 3600;
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    const std::size_t point = std::min(value.find('.'), value.size());
    const auto seconds = count_of(value.substr(0, point));
    if (!seconds || *seconds > kMostSeconds) return std::nullopt;
    std::uint64_t ms = *seconds * 1000;
    if (point == value.size()) return ms;
    std::uint64_t place = 100;
    bool more = false;
    for (const char digit : value.substr(point + 1)) {
        if (digit < '0' || digit > '9') return std::nullopt;
        if (place == 0) more = more || digit != '0';
        ms += static_cast<std::uint64_t>(digit - '0') * place;
        place /= 10;
    }
    return more ? ms + 1 : ms;
}

namespace {

/// Sound, timed: {"type":"duration","seconds":N}.
std::optional<SaidUsage> timed_usage(std::string_view object) noexcept {
    std::optional<std::uint64_t> ms;
    JsonMembers members(object);
    for (JsonMember member; members.next(member);) {
        if (member.key == "seconds") {
            if (const auto read = seconds_as_ms(member.value)) ms = read;
        }
    }
    if (!ms || members.malformed()) return std::nullopt;
    SaidUsage said;
    said.usage.audio_ms = *ms;
    return said;
}

/// What of the total is not the other half; nothing if either is not known.
std::optional<std::uint64_t> rest_of(const std::optional<std::uint64_t>& total,
                                     const std::optional<std::uint64_t>& other) noexcept {
    if (!total || !other || *total < *other) return std::nullopt;
    return *total - *other;
}

}  // namespace

std::optional<SaidUsage> usage_of_object(Operation operation, std::string_view object) noexcept {
    if (operation == Operation::messages) {
        MessageCounts counts;
        counts.take(object);
        return counts.usage();
    }
    if (reads_audio(operation)) {
        if (const auto timed = timed_usage(object)) return timed;
    }
    const FieldNames& names = field_names(operation);
    std::optional<std::uint64_t> input;
    std::optional<std::uint64_t> output;
    std::optional<std::uint64_t> total;
    SaidUsage said;
    Usage& usage = said.usage;

    JsonMembers members(object);
    for (JsonMember member; members.next(member);) {
        if (member.key.empty()) continue;  // also: the names a dialect has not
        if (member.key == names.input) {
            if (const auto count = count_of(member.value)) input = count;
        } else if (member.key == names.output) {
            if (const auto count = count_of(member.value)) output = count;
        } else if (member.key == "total_tokens") {
            if (const auto count = count_of(member.value)) total = count;
        } else if (member.key == names.input_details) {
            take_input_details(member.value, usage);
        } else if (member.key == names.output_details) {
            take_output_details(member.value, usage);
        }
    }
    if (members.malformed()) return std::nullopt;
    if (names.total_is_input) {
        if (!input) input = total;
    } else if (!input) {
        input = rest_of(total, output);
    } else if (!output) {
        output = rest_of(total, input);
    }
    if (!input && !output) return std::nullopt;

    usage.input_tokens = input.value_or(0);
    usage.output_tokens = output.value_or(0);
    said.lacks_input = !input;
    said.lacks_output = !output && !names.total_is_input;
    return said;
}

std::optional<Usage> usage_of_json_answer(Operation operation, std::string_view body) {
    simdjson::ondemand::parser parser;
    simdjson::ondemand::document document;
    simdjson::ondemand::object answer;
    if (parser.iterate(body.data(), body.size(), body.size() + simdjson::SIMDJSON_PADDING).get(document)) {
        return std::nullopt;
    }
    if (document.get_object().get(answer)) return std::nullopt;

    std::optional<Usage> usage;
    for (auto member : answer) {
        std::string_view key;
        if (member.unescaped_key().get(key)) return std::nullopt;
        if (key != "usage") continue;
        simdjson::ondemand::object object;
        std::string_view text;
        if (member.value().get_object().get(object)) continue;
        if (object.raw_json().get(text)) return std::nullopt;
        if (const auto read = usage_of_object(operation, text)) usage = read->usage;
    }
    return usage;
}

Usage estimated_usage(std::uint64_t request_bytes, std::uint64_t output_text_bytes) noexcept {
    const auto tokens = [](std::uint64_t bytes) noexcept {
        return bytes / kBytesPerToken + (bytes % kBytesPerToken != 0 ? 1 : 0);
    };
    Usage usage;
    usage.input_tokens = tokens(request_bytes);
    usage.output_tokens = tokens(output_text_bytes);
    return usage;
}

}  // namespace lumen

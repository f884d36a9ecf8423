#include "lumen_core/request_facts.h"

#include <simdjson.h>

#include <algorithm>
#include <array>

namespace lumen {
namespace {

namespace json = simdjson::ondemand;
using Span = RequestFacts::Span;
using StreamOptions = RequestFacts::StreamOptions;

static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

/// Bodies up to this size need no allocation; it covers nearly all that carry no images.
constexpr std::size_t kKeptBodyBytes = std::size_t{1024} * 1024;
/// Longer member names are not repeated in messages.
constexpr std::size_t kMaxShownNameBytes = 64;

/// What is wrong, if anything is.
using Fault = std::optional<BadRequest>;

Fault not_json() {
    return BadRequest{"The body of the request is not valid JSON in UTF-8, or is nested deeper than " +
                          std::to_string(kMaxJsonDepth) + " levels.",
                      "", false};
}

Fault invalid(std::string_view param, std::string_view rule) {
    return BadRequest{"'" + std::string{param} + "' " + std::string{rule}, std::string{param}, true};
}

/// The members that mean something to us; no other spelling of them may reach a model server.
constexpr std::array<std::string_view, 10> kBodyMembers{
    "model", "stream",  "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens",
    "n",     "best_of", "prompt",         "input"};
constexpr std::array<std::string_view, 2> kStreamOptionMembers{"include_usage", "continuous_usage_stats"};

/// Whether a decoder that folds case (Go's encoding/json, so Ollama) takes `name` for `known`, which is lower-case
/// ASCII. Two letters outside ASCII fold into it: U+017F to s, U+212A to k.
bool folds_to(std::string_view name, std::string_view known) noexcept {
    constexpr std::string_view kLongS = "\xC5\xBF";
    constexpr std::string_view kKelvin = "\xE2\x84\xAA";
    for (const char expected : known) {
        if (name.empty()) return false;
        std::size_t taken = 1;
        if (expected == 's' && name.substr(0, kLongS.size()) == kLongS) {
            taken = kLongS.size();
        } else if (expected == 'k' && name.substr(0, kKelvin.size()) == kKelvin) {
            taken = kKelvin.size();
        } else {
            const char c = name.front();
            if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != expected) return false;
        }
        name.remove_prefix(taken);
    }
    return name.empty();
}

/// The member names of one object, unescaped, each at most once.
class MemberNames {
 public:
    explicit MemberNames(std::string_view prefix) noexcept : prefix_(prefix) {}

    template <std::size_t N>
    Fault add(std::string_view name, const std::array<std::string_view, N>& known) {
        if (size_ == names_.size()) {
            return BadRequest{"An object of the request has more than " + std::to_string(kMaxMembers) + " members.", "",
                              false};
        }
        const auto end = names_.begin() + static_cast<std::ptrdiff_t>(size_);
        if (std::find(names_.begin(), end, name) != end) return invalid(shown(name), "is there twice.");
        const bool ascii =
            std::all_of(name.begin(), name.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
        for (const std::string_view member : known) {
            if (ascii && name.size() != member.size()) continue;  // a letter is a byte
            if (name != member && folds_to(name, member)) {
                return invalid(shown(name), "must be written '" + std::string{member} + "'.");
            }
        }
        names_[size_++] = name;
        return std::nullopt;
    }

 private:
    std::string shown(std::string_view name) const {
        if (name.size() > kMaxShownNameBytes) return std::string{prefix_} + "…";
        return std::string{prefix_} + std::string{name};
    }

    std::string_view prefix_;
    std::array<std::string_view, kMaxMembers> names_;
    std::size_t size_ = 0;
};

/// UTF-8 and control characters are checked by the first pass; left are escapes, of which long strings (images) have
/// none.
bool is_valid_string(json::value& value) {
    return value.raw_json_token().find('\\') == std::string_view::npos ||
           value.get_string().error() == simdjson::SUCCESS;
}

/// What a member of that name may be read as by a model, beyond the bytes it has here: it gives an image, a file, sound
/// or an earlier conversation, often by its address alone.
std::uint64_t tokens_referred_to_by(std::string_view name) noexcept {
    constexpr std::array<std::string_view, 4> kImages{"image_url", "image", "source", "image_embeds"};
    constexpr std::array<std::string_view, 12> kOthers{
        "file",        "file_id",   "file_url",     "file_data",    "video_url", "video",
        "input_audio", "audio_url", "audio_embeds", "conversation", "container", "previous_response_id"};
    constexpr std::string_view kBeginnings = "isfvacp";
    if (name.size() < 4 || name.size() > 20 || kBeginnings.find(name.front()) == kBeginnings.npos) return 0;
    if (name == "content") return 0;  // the most frequent one by far that begins like one of them
    const auto is = [name](std::string_view known) noexcept { return name == known; };
    if (std::any_of(kImages.begin(), kImages.end(), is)) return kMaxImageTokens;
    return std::any_of(kOthers.begin(), kOthers.end(), is) ? kMaxReferenceTokens : 0;
}

/// What a model reads that is not text of the body.
struct Media {
    std::uint64_t reference_tokens = 0;
    std::uint64_t bytes = 0;
    std::uint64_t count = 0;

    void take_name(std::string_view name) noexcept {
        const std::uint64_t tokens = tokens_referred_to_by(name);
        reference_tokens += tokens;
        if (tokens > 0) ++count;
    }
    /// `token` is a string as it stands in the JSON. One that begins with so much base64 is an image or a file.
    void take_string(std::string_view token) noexcept {
        constexpr std::size_t kLeastBytes = 2048;
        constexpr auto is_base64 = [](char c) noexcept {  // or of the head of a data: URL
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '/' && c <= ';') || c == '+' || c == '=' ||
                   c == ',' || c == '-' || c == '_';
        };
        if (token.size() < kLeastBytes) return;
        const std::string_view head = token.substr(1, kLeastBytes - 2);
        if (std::all_of(head.begin(), head.end(), is_base64)) bytes += token.size();
    }
};

/// On-demand parsing checks only what is read, so everything is: a model server must not get what we did not
/// understand.
bool is_valid(json::value value, int depth, Media& media) {
    if (depth > kMaxJsonDepth) return false;
    json::json_type type{};
    if (value.type().get(type) != simdjson::SUCCESS) return false;
    switch (type) {
        case json::json_type::object: {
            json::object object;
            if (value.get_object().get(object) != simdjson::SUCCESS) return false;
            for (auto member : object) {
                json::field field;
                std::string_view name;
                if (std::move(member).get(field) != simdjson::SUCCESS) return false;
                if (field.unescaped_key().get(name) != simdjson::SUCCESS) return false;
                media.take_name(name);
                if (!is_valid(field.value(), depth + 1, media)) return false;
            }
            return true;
        }
        case json::json_type::array: {
            json::array array;
            if (value.get_array().get(array) != simdjson::SUCCESS) return false;
            for (auto element : array) {
                json::value inner;
                if (element.get(inner) != simdjson::SUCCESS || !is_valid(inner, depth + 1, media)) return false;
            }
            return true;
        }
        case json::json_type::string:
            media.take_string(value.raw_json_token());
            return is_valid_string(value);
        case json::json_type::number:
            return value.get_double().error() == simdjson::SUCCESS;
        case json::json_type::boolean:
            return value.get_bool().error() == simdjson::SUCCESS;
        case json::json_type::null: {
            bool is_null = false;
            return value.is_null().get(is_null) == simdjson::SUCCESS && is_null;
        }
    }
    return false;
}

bool is_null(json::value& value) {
    bool null = false;
    return value.is_null().get(null) == simdjson::SUCCESS && null;
}

bool has_control_character(std::string_view text) noexcept {
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<std::uint8_t>(text[i]);
        if (byte < 0x20 || byte == 0x7F) return true;
        if (byte == 0xC2 && i + 1 < text.size() && static_cast<std::uint8_t>(text[i + 1]) < 0xA0) return true;  // C1
    }
    return false;
}

/// The reading of one body.
class Reading {
 public:
    Reading(Operation operation, std::string_view body) noexcept
        : operation_(operation), traits_(traits_of(operation)), body_(body) {
        facts_.input_bytes = body.size();
    }

    Fault take_body(json::document& document) {
        json::object object;
        if (document.get_object().get(object) != simdjson::SUCCESS) {
            return BadRequest{"The body of the request must be one JSON object.", "", false};
        }
        facts_.object_open = {static_cast<std::uint32_t>(body_.find('{')), 1};

        MemberNames names{""};
        for (auto member : object) {
            json::field field;
            std::string_view name;
            if (std::move(member).get(field) != simdjson::SUCCESS) return not_json();
            if (field.unescaped_key().get(name) != simdjson::SUCCESS) return not_json();
            if (Fault fault = names.add(name, kBodyMembers)) return fault;
            if (Fault fault = take_member(name, field.value())) return fault;
        }
        // Past the last token there is no location: anything else is content behind the object.
        if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) return not_json();
        if (facts_.model.empty())
            return BadRequest{"'model' is missing. GET /v1/models lists the models.", "model", false};
        facts_.choices *= prompts_;
        facts_.media = media_.count;
        facts_.media_bytes = std::min(media_.bytes, facts_.input_bytes);
        facts_.reference_tokens = media_.reference_tokens;
        if (operation_ == Operation::audio_speech && !has_input_) {
            return BadRequest{"'input' is missing: the text that is to be spoken.", "input", false};
        }
        // Whether each of several pictures tells its own usage or that of all, the protocol leaves open: no guesses.
        if (operation_ == Operation::images_generations && facts_.stream && facts_.choices > 1) {
            return invalid("n", "must be 1 if 'stream' is true.");
        }
        return std::nullopt;
    }

    RequestFacts&& facts() && noexcept { return std::move(facts_); }

 private:
    Fault take_member(std::string_view name, json::value value) {
        if (name == "model") return take_model(value);
        if (traits_.streams) {
            if (name == "stream") return take_flag(value, name, facts_.stream);
            if (name == "stream_options" && traits_.takes_stream_options) return take_stream_options(value);
            if (names_max_output_tokens(name)) return take_max_output_tokens(value, name);
        }
        if (name == "n" && takes_choices()) return take_choices(value, name);
        if (name == "best_of" && operation_ == Operation::completions) return take_choices(value, name);
        if (name == "prompt" && operation_ == Operation::completions) return take_prompt(value);
        if (name == "input" && operation_ == Operation::audio_speech) return take_spoken(value);
        media_.take_name(name);
        if (reads_pairs(operation_)) return take_side(value);
        return checked(value, 2);
    }

    Fault checked(json::value value, int depth) { return is_valid(value, depth, media_) ? std::nullopt : not_json(); }

    bool takes_choices() const noexcept {
        return operation_ == Operation::chat_completions || operation_ == Operation::completions ||
               operation_ == Operation::images_generations;
    }

    /// Characters as people count them: code points, whatever their bytes or escapes.
    Fault take_spoken(json::value value) {
        std::string_view text;
        const simdjson::error_code error = value.get_string().get(text);
        if (error == simdjson::INCORRECT_TYPE) return invalid("input", "must be a string.");
        if (error != simdjson::SUCCESS) return not_json();
        has_input_ = true;
        facts_.characters = static_cast<std::uint64_t>(std::count_if(
            text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
        return std::nullopt;
    }

    /// One side of the pairs: a text is read with each element of the longest list.
    Fault take_side(json::value value) {
        json::json_type type{};
        if (value.type().get(type) != simdjson::SUCCESS) return not_json();
        if (type == json::json_type::string) {
            facts_.repeated_bytes = std::max<std::uint64_t>(facts_.repeated_bytes, value.raw_json_token().size());
        }
        if (type != json::json_type::array) return checked(value, 2);
        json::array array;
        if (value.get_array().get(array) != simdjson::SUCCESS) return not_json();
        std::uint64_t elements = 0;
        for (auto element : array) {
            json::value inner;
            if (element.get(inner) != simdjson::SUCCESS) return not_json();
            ++elements;
            if (Fault fault = checked(inner, 3)) return fault;
        }
        facts_.pairs = std::max(facts_.pairs, elements);
        return std::nullopt;
    }

    bool names_max_output_tokens(std::string_view name) const noexcept {
        switch (operation_) {
            case Operation::chat_completions:
                return name == "max_completion_tokens" || name == "max_tokens";
            case Operation::completions:
            case Operation::messages:
                return name == "max_tokens";
            case Operation::responses:
                return name == "max_output_tokens";
            default:
                return false;
        }
    }

    /// Of a scalar or an opening bracket; scalars without the white space that follows them.
    Span span_of(json::value& value) const {
        std::string_view token = value.raw_json_token();
        token = token.substr(0, token.find_last_not_of(" \t\r\n") + 1);
        return {static_cast<std::uint32_t>(token.data() - body_.data()), static_cast<std::uint32_t>(token.size())};
    }

    Fault take_model(json::value value) {
        facts_.model_value = span_of(value);
        std::string_view model;
        const simdjson::error_code error = value.get_string().get(model);
        if (error == simdjson::INCORRECT_TYPE) return invalid("model", "must be a string.");
        if (error != simdjson::SUCCESS) return not_json();
        if (!is_model_name(model)) {
            return invalid(
                "model", "must have 1 to " + std::to_string(kMaxModelNameBytes) + " bytes and no control characters.");
        }
        facts_.model = model;
        return std::nullopt;
    }

    Fault take_flag(json::value value, std::string_view param, bool& flag) const {
        if (is_null(value)) return std::nullopt;
        if (value.get_bool().get(flag) != simdjson::SUCCESS) return invalid(param, "must be true or false.");
        return std::nullopt;
    }

    Fault take_stream_options(json::value value) {
        StreamOptions& options = facts_.stream_options.emplace();
        options.value = span_of(value);
        options.is_null = is_null(value);
        if (options.is_null) return std::nullopt;

        json::object object;
        if (value.get_object().get(object) != simdjson::SUCCESS) return invalid("stream_options", "must be an object.");
        MemberNames names{"stream_options."};
        for (auto member : object) {
            json::field field;
            std::string_view name;
            if (std::move(member).get(field) != simdjson::SUCCESS) return not_json();
            if (field.unescaped_key().get(name) != simdjson::SUCCESS) return not_json();
            if (Fault fault = names.add(name, kStreamOptionMembers)) return fault;
            options.is_empty = false;
            if (Fault fault = take_stream_option(name, field.value(), options)) return fault;
        }
        return std::nullopt;
    }

    Fault take_stream_option(std::string_view name, json::value value, StreamOptions& options) {
        if (name == "include_usage") {
            options.include_usage = span_of(value);
            return take_flag(value, "stream_options.include_usage", facts_.wants_usage);
        }
        if (name == "continuous_usage_stats") {
            options.continuous_usage_stats = span_of(value);
            bool continuous = false;
            return take_flag(value, "stream_options.continuous_usage_stats", continuous);
        }
        return checked(value, 3);
    }

    Fault take_integer(json::value value, std::string_view param, std::uint64_t least, std::uint64_t most,
                       std::optional<std::uint64_t>& integer) const {
        if (is_null(value)) return std::nullopt;
        std::uint64_t read = 0;
        if (value.get_uint64().get(read) != simdjson::SUCCESS || read < least || read > most) {
            return invalid(param,
                           "must be an integer from " + std::to_string(least) + " to " + std::to_string(most) + ".");
        }
        integer = read;
        return std::nullopt;
    }

    /// Of two names for the same limit a server may honour either: the larger bounds the cost.
    Fault take_max_output_tokens(json::value value, std::string_view param) {
        std::optional<std::uint64_t> tokens;
        if (Fault fault = take_integer(value, param, 0, kMaxOutputTokens, tokens)) return fault;
        facts_.max_output_tokens = std::max(facts_.max_output_tokens, tokens);
        return std::nullopt;
    }

    Fault take_choices(json::value value, std::string_view param) {
        std::optional<std::uint64_t> choices;
        if (Fault fault = take_integer(value, param, 1, kMaxChoices, choices)) return fault;
        facts_.choices = std::max(facts_.choices, static_cast<std::uint32_t>(choices.value_or(1)));
        return std::nullopt;
    }

    /// A string, an array of token numbers, or an array of either: a batch, in which each prompt gets its own answers.
    Fault take_prompt(json::value value) {
        json::json_type type{};
        if (value.type().get(type) != simdjson::SUCCESS) return not_json();
        if (type != json::json_type::array) return checked(value, 2);

        json::array array;
        if (value.get_array().get(array) != simdjson::SUCCESS) return not_json();
        std::uint32_t prompts = 0;
        for (auto element : array) {
            json::value inner;
            if (element.get(inner) != simdjson::SUCCESS) return not_json();
            if (inner.type().get(type) != simdjson::SUCCESS) return not_json();
            if (type != json::json_type::number) ++prompts;
            if (prompts > kMaxPrompts) {
                return invalid("prompt", "must have at most " + std::to_string(kMaxPrompts) + " prompts.");
            }
            if (Fault fault = checked(inner, 3)) return fault;
        }
        prompts_ = std::max(prompts, 1U);
        return std::nullopt;
    }

    Operation operation_;
    const OperationTraits& traits_;
    std::string_view body_;
    RequestFacts facts_;
    Media media_;
    std::uint32_t prompts_ = 1;
    bool has_input_ = false;
};

}  // namespace

struct FactsReader::Memory {
    json::parser parser;
};

FactsReader::FactsReader() : memory_(std::make_unique<Memory>()) {}
FactsReader::~FactsReader() = default;
FactsReader::FactsReader(FactsReader&&) noexcept = default;
FactsReader& FactsReader::operator=(FactsReader&&) noexcept = default;

FactsResult FactsReader::read(Operation operation, std::string_view body) {
    if (body.size() > kMaxJsonBodyBytes) {
        return {std::nullopt,
                {"The body of the request is longer than " + std::to_string(kMaxJsonBodyBytes) + " bytes.", "", false}};
    }
    json::parser& parser = memory_->parser;
    json::document document;
    Reading reading{operation, body};
    const simdjson::padded_string_view padded{body.data(), body.size(), body.size() + kJsonPadding};
    Fault fault = parser.iterate(padded).get(document) == simdjson::SUCCESS ? reading.take_body(document) : not_json();
    if (parser.capacity() > kKeptBodyBytes) parser = json::parser{};
    if (fault) return {std::nullopt, *std::move(fault)};
    return {std::move(reading).facts(), {}};
}

FactsResult read_request_facts(Operation operation, std::string_view body) {
    return FactsReader{}.read(operation, body);
}

bool is_model_name(std::string_view name) noexcept {
    return !name.empty() && name.size() <= kMaxModelNameBytes && !has_control_character(name);
}

}  // namespace lumen

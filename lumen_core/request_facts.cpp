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

bool can_stream(Operation operation) noexcept {
    return takes_stream_options(operation) || operation == Operation::responses;
}

/// The members that mean something to us; no other spelling of them may reach a model server.
constexpr std::array<std::string_view, 9> kBodyMembers{
    "model", "stream",  "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens",
    "n",     "best_of", "prompt"};
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
        for (const std::string_view member : known) {
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

/// On-demand parsing checks only what is read, so everything is: a model server must not get what we did not
/// understand.
bool is_valid(json::value value, int depth) {
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
                if (!is_valid(field.value(), depth + 1)) return false;
            }
            return true;
        }
        case json::json_type::array: {
            json::array array;
            if (value.get_array().get(array) != simdjson::SUCCESS) return false;
            for (auto element : array) {
                json::value inner;
                if (element.get(inner) != simdjson::SUCCESS || !is_valid(inner, depth + 1)) return false;
            }
            return true;
        }
        case json::json_type::string:
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
    Reading(Operation operation, std::string_view body) noexcept : operation_(operation), body_(body) {
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
        return std::nullopt;
    }

    RequestFacts&& facts() && noexcept { return std::move(facts_); }

 private:
    Fault take_member(std::string_view name, json::value value) {
        if (name == "model") return take_model(value);
        if (can_stream(operation_)) {
            if (name == "stream") return take_flag(value, name, facts_.stream);
            if (name == "stream_options") return take_stream_options(value);
            if (names_max_output_tokens(name)) return take_max_output_tokens(value, name);
        }
        if (name == "n" && takes_choices()) return take_choices(value, name);
        if (name == "best_of" && operation_ == Operation::completions) return take_choices(value, name);
        if (name == "prompt" && operation_ == Operation::completions) return take_prompt(value);
        return is_valid(value, 2) ? std::nullopt : not_json();
    }

    bool takes_choices() const noexcept {
        return operation_ == Operation::chat_completions || operation_ == Operation::completions;
    }

    bool names_max_output_tokens(std::string_view name) const noexcept {
        switch (operation_) {
            case Operation::chat_completions:
                return name == "max_completion_tokens" || name == "max_tokens";
            case Operation::completions:
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
        if (model.empty() || model.size() > kMaxModelNameBytes || has_control_character(model)) {
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
        return is_valid(value, 3) ? std::nullopt : not_json();
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
        if (type != json::json_type::array) return is_valid(value, 2) ? std::nullopt : not_json();

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
            if (!is_valid(inner, 3)) return not_json();
        }
        prompts_ = std::max(prompts, 1U);
        return std::nullopt;
    }

    Operation operation_;
    std::string_view body_;
    RequestFacts facts_;
    std::uint32_t prompts_ = 1;
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

std::optional<Operation> operation_of_path(std::string_view path_below_v1) noexcept {
    if (path_below_v1 == "chat/completions") return Operation::chat_completions;
    if (path_below_v1 == "completions") return Operation::completions;
    if (path_below_v1 == "responses") return Operation::responses;
    if (path_below_v1 == "embeddings") return Operation::embeddings;
    if (path_below_v1 == "rerank") return Operation::rerank;
    if (path_below_v1 == "score") return Operation::score;
    if (path_below_v1 == "moderations") return Operation::moderations;
    return std::nullopt;
}

std::string_view operation_name(Operation operation) noexcept {
    switch (operation) {
        case Operation::chat_completions:
            return "chat";
        case Operation::completions:
            return "text_completion";
        case Operation::responses:
            return "responses";
        case Operation::embeddings:
            return "embeddings";
        case Operation::rerank:
            return "rerank";
        case Operation::score:
            return "score";
        case Operation::moderations:
            return "moderations";
    }
    return "unknown";
}

bool takes_stream_options(Operation operation) noexcept {
    return operation == Operation::chat_completions || operation == Operation::completions;
}

std::uint64_t estimated_input_tokens(const RequestFacts& facts) noexcept {
    return std::max<std::uint64_t>((facts.input_bytes + 2) / 3, 1);
}

std::uint64_t upper_bound_input_tokens(const RequestFacts& facts) noexcept {
    return std::max<std::uint64_t>(facts.input_bytes, 1);
}

}  // namespace lumen

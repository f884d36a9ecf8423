#include "lumen_core/conversation_key.h"

#include <simdjson.h>

#include "lumen_core/request_facts.h"

namespace lumen {
namespace {

using simdjson::ondemand::json_type;

/// Memory for longer bodies is given back.
constexpr std::size_t kKeptBodyBytes = std::size_t{1} << 20U;
/// Of a plain text this much: it grows at its end from turn to turn, so neither its length nor its end may count.
constexpr std::size_t kKeyBytesOfText = 1024;

/// FNV-1a over 8 bytes a step would do as well; this is a few hundred bytes of a request that will cost a GPU seconds.
class Hash {
 public:
    void add(std::string_view text) noexcept {
        mix_length(text.size());
        for (const char c : text.substr(0, kKeyBytesPerMessage)) mix(static_cast<unsigned char>(c));
    }
    std::uint64_t value() const noexcept { return value_; }

 private:
    void mix(std::uint64_t byte) noexcept { value_ = (value_ ^ byte) * 0x100000001B3ULL; }
    void mix_length(std::size_t length) noexcept {
        for (std::uint64_t rest = length; rest > 0; rest >>= 8U) mix(rest & 0xFFU);
    }
    std::uint64_t value_ = 0xCBF29CE484222325ULL;
};

/// nullopt: what follows is no JSON, and the message must not be touched again.
std::optional<bool> is_of_user(simdjson::ondemand::object& message) {
    simdjson::ondemand::value role;
    const auto found = message.find_field_unordered("role").get(role);
    if (found == simdjson::NO_SUCH_FIELD) return false;
    if (found != simdjson::SUCCESS) return std::nullopt;
    std::string_view text;
    const auto read = role.get_string().get(text);
    if (read != simdjson::SUCCESS && read != simdjson::INCORRECT_TYPE) return std::nullopt;
    return read == simdjson::SUCCESS && text == "user";
}

/// What comes before the user's first words, and these.
std::optional<std::uint64_t> key_of_messages(simdjson::ondemand::array messages) {
    Hash hash;
    std::size_t seen = 0;
    for (auto element : messages) {
        simdjson::ondemand::object message;
        if (element.get_object().get(message) != simdjson::SUCCESS) break;
        const std::optional<bool> of_user = is_of_user(message);
        std::string_view text;
        if (!of_user || message.reset().error() != simdjson::SUCCESS ||
            message.raw_json().get(text) != simdjson::SUCCESS)
            break;
        hash.add(text);
        if (++seen == kMostKeyMessages || *of_user) break;
    }
    if (seen == 0) return std::nullopt;
    return hash.value();
}

std::optional<std::uint64_t> key_of_value(simdjson::ondemand::value value) {
    json_type type{};
    if (value.type().get(type) != simdjson::SUCCESS) return std::nullopt;
    if (type == json_type::array) {
        simdjson::ondemand::array messages;
        if (value.get_array().get(messages) != simdjson::SUCCESS) return std::nullopt;
        return key_of_messages(messages);
    }
    std::string_view text;
    if (type != json_type::string || value.get_string().get(text) != simdjson::SUCCESS) return std::nullopt;
    Hash hash;
    hash.add(text.substr(0, kKeyBytesOfText));
    return hash.value();
}

bool begins_conversation(std::string_view member) noexcept {
    return member == "messages" || member == "prompt" || member == "input";
}

std::optional<std::uint64_t> key_of_body(simdjson::ondemand::object members) {
    for (auto member : members) {
        std::string_view name;
        simdjson::ondemand::value value;
        if (member.unescaped_key().get(name) != simdjson::SUCCESS || member.value().get(value) != simdjson::SUCCESS) {
            return std::nullopt;
        }
        if (begins_conversation(name)) return key_of_value(value);
    }
    return std::nullopt;
}

}  // namespace

struct ConversationKeyReader::Parser {
    simdjson::ondemand::parser json;
};

ConversationKeyReader::ConversationKeyReader() : parser_(std::make_unique<Parser>()) {}
ConversationKeyReader::~ConversationKeyReader() = default;
ConversationKeyReader::ConversationKeyReader(ConversationKeyReader&&) noexcept = default;
ConversationKeyReader& ConversationKeyReader::operator=(ConversationKeyReader&&) noexcept = default;

std::optional<std::uint64_t> ConversationKeyReader::read(std::string_view body) {
    static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);
    simdjson::ondemand::parser& json = parser_->json;
    simdjson::ondemand::document document;
    simdjson::ondemand::object members;
    std::optional<std::uint64_t> key;
    const simdjson::padded_string_view padded(body.data(), body.size(), body.size() + kJsonPadding);
    if (json.iterate(padded).get(document) == simdjson::SUCCESS &&
        document.get_object().get(members) == simdjson::SUCCESS) {
        key = key_of_body(members);
    }
    if (json.capacity() > kKeptBodyBytes) json = simdjson::ondemand::parser{};
    return key;
}

}  // namespace lumen

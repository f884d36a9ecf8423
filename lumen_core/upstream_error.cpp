// The part of api_error.h that lets a model server's own refusal through: its words, without what they give away.
#include <simdjson.h>

#include <algorithm>
#include <array>

#include "lumen_core/api_error.h"

namespace lumen {
namespace {

namespace dom = simdjson::dom;

/// Longer bodies are no error messages.
constexpr std::size_t kMaxErrorBodyBytes = std::size_t{64} * 1024;
constexpr std::size_t kMaxMessageBytes = std::size_t{2} * 1024;
constexpr std::size_t kMaxIdentifierBytes = 64;
constexpr std::string_view kRemoved = "[removed]";

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}
char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
bool is_letter(char c) noexcept {
    return lower(c) >= 'a' && lower(c) <= 'z';
}
bool is_hex(char c) noexcept {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f');
}
bool is_host_char(char c) noexcept {
    return is_letter(c) || is_digit(c) || c == '.' || c == '-';
}

template <typename Test>
bool all(std::string_view text, Test test) noexcept {
    return std::all_of(text.begin(), text.end(), test);
}

bool contains(std::string_view text, std::string_view part) noexcept {
    return text.find(part) != std::string_view::npos;
}

std::string_view before(std::string_view text, std::string_view any_of) noexcept {
    return text.substr(0, text.find_first_of(any_of));
}

std::string lowered(std::string_view text) {
    std::string result{text};
    std::transform(result.begin(), result.end(), result.begin(), lower);
    return result;
}

/// Four numbers between dots, anywhere in the word.
bool has_ipv4(std::string_view word) noexcept {
    int numbers = 0;
    bool in_number = false;
    for (const char c : word) {
        if (is_digit(c)) {
            if (!in_number && ++numbers == 4) return true;
            in_number = true;
        } else {
            if (c != '.' || !in_number) numbers = 0;
            in_number = false;
        }
    }
    return false;
}

bool is_ipv6(std::string_view word) noexcept {
    const std::string_view address = before(word, "/%");
    const auto colons = std::count(address.begin(), address.end(), ':');
    return (colons >= 5 || (colons >= 2 && contains(address, "::"))) &&
           all(address, [](char c) { return is_hex(c) || c == ':' || c == '.' || c == '[' || c == ']'; });
}

bool is_host_with_port(std::string_view word) noexcept {
    const std::string_view place = before(word, "/?#");
    const std::size_t colon = place.rfind(':');
    if (colon == std::string_view::npos || colon == 0) return false;
    const std::string_view host = place.substr(0, colon);
    const std::string_view port = place.substr(colon + 1);
    return port.size() >= 2 && port.size() <= 5 && all(port, is_digit) && all(host, is_host_char) &&
           std::any_of(host.begin(), host.end(), is_letter);
}

/// A dotted name whose last label is one of networks and not of JSON paths (`messages.0.content`).
bool is_domain_name(std::string_view word) {
    constexpr std::array<std::string_view, 18> kLastLabels{
        "local", "localdomain", "internal", "lan", "intranet", "corp", "home", "svc", "private",
        "arpa",  "com",         "net",      "org", "edu",      "gov",  "io",   "ai",  "cloud"};
    const std::string host = lowered(before(word.substr(word.rfind('@') + 1), "/:?#"));
    if (host == "localhost") return true;
    const std::size_t dot = host.rfind('.');
    return dot != std::string::npos && all(host, is_host_char) &&
           std::find(kLastLabels.begin(), kLastLabels.end(), std::string_view{host}.substr(dot + 1)) !=
               kLastLabels.end();
}

bool is_credential(std::string_view word) noexcept {
    constexpr std::array<std::string_view, 4> kPrefixes{"sk-", "sk_", "hf_", "lop_"};
    return word.size() >= 8 && std::any_of(kPrefixes.begin(), kPrefixes.end(), [&](std::string_view prefix) {
               return word.substr(0, prefix.size()) == prefix;
           });
}

/// Addresses, host names, credentials: nothing a caller should learn about what is behind the gate.
bool word_gives_away(std::string_view word) {
    while (!word.empty() && contains(".,:!?", word.substr(word.size() - 1))) word.remove_suffix(1);
    if (word.empty()) return false;
    return contains(word, "://") || word.substr(0, 5) == "unix:" || has_ipv4(word) || is_ipv6(word) ||
           is_host_with_port(word) || is_domain_name(word) || is_credential(word);
}

std::string cleaned(std::string_view text) {
    constexpr std::string_view kBetweenWords = " \t\r\n\"'`()<>{},;=|*";
    std::string clean;
    while (!text.empty()) {
        const std::string_view word = before(text, kBetweenWords);
        if (word.empty()) {
            clean += text.front();
            text.remove_prefix(1);
            continue;
        }
        clean += word_gives_away(word) ? kRemoved : word;
        text.remove_prefix(word.size());
    }
    return clean;
}

bool has_markup(std::string_view text) noexcept {
    for (std::size_t i = 1; i < text.size(); ++i) {
        const char next = text[i];
        if (text[i - 1] == '<' && (is_letter(next) || next == '/' || next == '!' || next == '?')) return true;
    }
    return false;
}

/// Texts that are a dump of the server's insides rather than a message.
bool is_dump(std::string_view text) noexcept {
    return contains(text, "host=") || contains(text, "Traceback (most recent");
}

std::string identifier_or_none(std::string_view text) {
    const bool fits = !text.empty() && text.size() <= kMaxIdentifierBytes &&
                      all(text, [](char c) { return is_host_char(c) || c == '_' || c == '[' || c == ']'; });
    return fits && !word_gives_away(text) ? std::string{text} : std::string{};
}

bool is_type(std::string_view text) noexcept {
    return !text.empty() && text.size() <= kMaxIdentifierBytes &&
           all(text, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

/// Empty if there is no such string member.
std::string_view text_member(dom::object object, std::string_view name) noexcept {
    std::string_view text;
    return object.at_key(name).get_string().get(text) == simdjson::SUCCESS ? text : std::string_view{};
}

/// What the body says, as views into the parser: OpenAI's envelope, a flat object (vLLM), or FastAPI's `detail`.
struct Said {
    std::string_view message;
    std::string_view type;
    std::string_view param;
    std::string_view code;
};

Said said_by(dom::object object) noexcept {
    return {text_member(object, "message"), text_member(object, "type"), text_member(object, "param"),
            text_member(object, "code")};
}

Said said_by_detail(dom::array detail) noexcept {
    Said said;
    for (const dom::element element : detail) {
        dom::object first;
        dom::array location;
        if (element.get_object().get(first) != simdjson::SUCCESS) break;
        said.message = text_member(first, "msg");
        if (first.at_key("loc").get_array().get(location) != simdjson::SUCCESS) break;
        for (const dom::element step : location) {
            std::string_view name;
            if (step.get_string().get(name) == simdjson::SUCCESS) said.param = name;
        }
        break;
    }
    return said;
}

Said read_error(dom::parser& parser, std::string_view body) noexcept {
    Said said;
    dom::object root;
    if (body.size() > kMaxErrorBodyBytes) return said;
    if (parser.parse(body.data(), body.size()).get_object().get(root) != simdjson::SUCCESS) return said;

    dom::object error;
    dom::array detail;
    dom::object response;  // the event response.failed
    if (root.at_key("response").get_object().get(response) == simdjson::SUCCESS) root = response;
    if (root.at_key("error").get_object().get(error) == simdjson::SUCCESS) return said_by(error);
    if (root.at_key("detail").get_array().get(detail) == simdjson::SUCCESS) return said_by_detail(detail);
    said = said_by(root);
    if (said.message.empty()) said.message = text_member(root, "error");
    if (said.message.empty()) said.message = text_member(root, "detail");
    return said;
}

/// Empty: nothing that a person could read.
std::string readable_or_none(std::string_view message) {
    const bool fits = message.size() <= kMaxMessageBytes && !has_markup(message) && !is_dump(message);
    return fits ? cleaned(message) : std::string();
}

std::string readable(int status, std::string_view message) {
    std::string text = readable_or_none(message);
    if (!text.empty()) return text;
    return "The model server answered with status " + std::to_string(status) + " and no readable message.";
}

}  // namespace

bool gives_away(std::string_view text) {
    return cleaned(text) != text;
}

bool is_error_answer(std::string_view body) {
    dom::parser parser;
    dom::object root;
    dom::element error;
    if (body.size() > kMaxErrorBodyBytes) return false;
    if (parser.parse(body.data(), body.size()).get_object().get(root) != simdjson::SUCCESS) return false;
    if (text_member(root, "object") == "error") return true;  // flat
    if (root.at_key("error").get(error) != simdjson::SUCCESS || !(error.is_object() || error.is_string())) return false;
    return text_member(root, "object") != "response" || gives_away(simdjson::minify(error));
}

std::string upstream_error_message(std::string_view body) {
    dom::parser parser;
    return readable_or_none(read_error(parser, body).message);
}

std::string upstream_error_event(Operation operation, std::string_view data) {
    constexpr int kStatus = 500;
    if (operation == Operation::messages) {
        return "event: error\ndata: " + normalised_upstream_error(Dialect::anthropic, kStatus, data) + "\n\n";
    }
    if (operation != Operation::responses) {
        return "data: " + normalised_upstream_error(Dialect::openai, kStatus, data) + "\n\n";
    }
    std::string event = R"(event: error
data: {"type":"error","code":null,"param":null,"message":")";
    dom::parser parser;
    append_json_escaped(event, readable(kStatus, read_error(parser, data).message));
    return event += "\"}\n\n";
}

std::string normalised_upstream_error(Dialect dialect, int status, std::string_view body) {
    dom::parser parser;
    const Said said = read_error(parser, body);

    RefusalDetails details;
    details.message = readable(status, said.message);
    if (dialect == Dialect::anthropic) return anthropic_error_body(status, said.type, details.message);
    if (is_type(said.type)) {
        details.type = said.type;
    } else {
        details.type = status >= 500 ? "server_error" : "invalid_request_error";
    }
    details.param = identifier_or_none(said.param);
    details.code = identifier_or_none(said.code);
    return error_body(dialect, Refusal::bad_body, details);  // the row whose param and code are null
}

}  // namespace lumen

#include "tests/harness/model_server/http_message.h"

#include <array>
#include <charconv>

namespace lumen::model_server {
namespace {

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

bool equals_ignoring_case(std::string_view a, std::string_view lower_case) noexcept {
    if (a.size() != lower_case.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (lower(a[i]) != lower_case[i]) return false;
    return true;
}

std::string_view trim(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

/// The next line without its CRLF; false if none is complete.
bool take_line(std::string_view& rest, std::string_view& line) noexcept {
    const std::size_t end = rest.find("\r\n");
    if (end == std::string_view::npos) return false;
    line = rest.substr(0, end);
    rest.remove_prefix(end + 2);
    return true;
}

bool parse_head(std::string_view head, Request& request) {
    std::string_view line;
    if (!take_line(head, line)) return false;
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) return false;
    request.method = line.substr(0, first);
    request.target = line.substr(first + 1, last - first - 1);
    const std::string_view version = line.substr(last + 1);
    if (version != "HTTP/1.1" && version != "HTTP/1.0") return false;
    request.http_1_0 = version == "HTTP/1.0";

    request.headers.clear();
    while (take_line(head, line) && !line.empty()) {
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || colon == 0) return false;
        request.headers.emplace_back(line.substr(0, colon), trim(line.substr(colon + 1)));
    }
    const std::string_view connection = request.header("connection");
    request.keep_alive =
        request.http_1_0 ? equals_ignoring_case(connection, "keep-alive") : !equals_ignoring_case(connection, "close");
    return true;
}

ParseResult parse_chunked(std::string_view input, std::size_t& consumed, std::string& body) {
    body.clear();
    std::string_view rest = input;
    while (true) {
        std::string_view line;
        if (!take_line(rest, line)) return ParseResult::incomplete;
        std::size_t size = 0;
        const std::string_view digits = line.substr(0, line.find(';'));
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), size, 16);
        if (error != std::errc() || end != digits.data() + digits.size()) return ParseResult::malformed;
        if (size > kMaxBodyBytes - body.size()) return ParseResult::malformed;
        if (size == 0) break;
        if (rest.size() < size + 2) return ParseResult::incomplete;
        body.append(rest.substr(0, size));
        rest.remove_prefix(size + 2);
    }
    std::string_view trailer;
    do {
        if (!take_line(rest, trailer)) return ParseResult::incomplete;
    } while (!trailer.empty());
    consumed = input.size() - rest.size();
    return ParseResult::complete;
}

const char* reason_phrase(int status) noexcept {
    switch (status) {
        case 200:
            return "OK";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 429:
            return "Too Many Requests";
        case 500:
            return "Internal Server Error";
        case 503:
            return "Service Unavailable";
        default:
            return "Status";
    }
}

}  // namespace

std::string_view Request::header(std::string_view lower_case_name) const noexcept {
    for (const auto& [name, value] : headers)
        if (equals_ignoring_case(name, lower_case_name)) return value;
    return {};
}

ParseResult parse_request(std::string_view input, Request& request, std::size_t& consumed, std::string& dechunked,
                          bool& wants_continue) {
    wants_continue = false;
    const std::size_t head_end = input.find("\r\n\r\n");
    if (head_end == std::string_view::npos)
        return input.size() > kMaxHeadBytes ? ParseResult::malformed : ParseResult::incomplete;
    const std::size_t head_bytes = head_end + 4;
    if (!parse_head(input.substr(0, head_bytes), request)) return ParseResult::malformed;
    request.raw_head = input.substr(0, head_bytes);
    wants_continue = equals_ignoring_case(request.header("expect"), "100-continue");

    if (equals_ignoring_case(request.header("transfer-encoding"), "chunked")) {
        const ParseResult result = parse_chunked(input.substr(head_bytes), consumed, dechunked);
        consumed += head_bytes;
        request.body = dechunked;
        return result;
    }
    std::size_t length = 0;
    if (const std::string_view text = request.header("content-length"); !text.empty()) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
        if (error != std::errc() || end != text.data() + text.size() || length > kMaxBodyBytes)
            return ParseResult::malformed;
    }
    if (input.size() - head_bytes < length) return ParseResult::incomplete;
    request.body = input.substr(head_bytes, length);
    consumed = head_bytes + length;
    return ParseResult::complete;
}

std::string format_head(const Answer& answer, bool keep_alive, bool chunked) {
    std::string head = "HTTP/1.1 " + std::to_string(answer.status) + ' ' + reason_phrase(answer.status) +
                       "\r\nServer: lumen-model-server\r\nContent-Type: " + answer.content_type + "\r\n";
    head += answer.extra_headers;
    if (chunked) {
        head += "Transfer-Encoding: chunked\r\n";
    } else if (!answer.events) {
        head += "Content-Length: " + std::to_string(answer.body.size()) + "\r\n";
    }
    head += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
    return head;
}

void append_chunk(std::string& out, std::string_view data) {
    std::array<char, 16> size{};
    const auto [end, error] = std::to_chars(size.data(), size.data() + size.size(), data.size(), 16);
    static_cast<void>(error);  // sixteen digits hold any size_t
    out.append(size.data(), end);
    out += "\r\n";
    out += data;
    out += "\r\n";
}

}  // namespace lumen::model_server

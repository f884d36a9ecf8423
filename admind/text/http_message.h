// Requests and answers as values: what a handler sees of HTTP.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admind/text/json.h"

namespace lumen::admind {

struct HttpRequest {
    std::string method;
    std::string path;                                         ///< as sent, without the query
    std::vector<std::pair<std::string, std::string>> query;   ///< decoded
    std::map<std::string, std::string, std::less<>> headers;  ///< names in lower case
    std::string body;
    bool loopback = false;  ///< the peer, and every address a proxy in front named, is this host
    std::string client;     ///< the address to count by: as a proxy on this host or network names it, else the peer's
    std::string id;         ///< the request's id, also in the answer's X-Request-Id

    std::string_view header(std::string_view lower_name) const;
    std::optional<std::string> query_value(std::string_view name) const;
};

struct FieldError {
    std::string path;
    std::string code;
    std::string message;
};

/// RFC 9457; `code` is stable, `detail` says what the caller can do.
struct Problem {
    int status = 500;
    std::string code;
    std::string detail;
    std::vector<FieldError> errors{};
};

struct Answer {
    Answer() = default;
    Answer(int http_status, Json json) : status(http_status), body(std::move(json)) {}
    Answer(Problem refusal) : status(refusal.status), problem(std::move(refusal)) {}

    int status = 200;
    Json body;                        ///< null: no body
    std::optional<std::string> text;  ///< instead of JSON
    std::string content_type = "application/json";
    std::vector<std::pair<std::string, std::string>> headers{};
    std::optional<Problem> problem{};
};

/// What goes over the wire.
struct HttpAnswer {
    int status = 200;
    std::string content_type;
    std::string body;
    std::vector<std::pair<std::string, std::string>> headers;
};
/// Every answer: X-Request-Id, Cache-Control: no-store; problems as application/problem+json.
HttpAnswer render(const Answer& answer, const std::string& request_id);

}  // namespace lumen::admind

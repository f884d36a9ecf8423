#include "admind/text/http_message.h"

namespace lumen::admind {

std::string_view HttpRequest::header(std::string_view lower_name) const {
    const auto found = headers.find(lower_name);
    return found == headers.end() ? std::string_view{} : std::string_view(found->second);
}

std::optional<std::string> HttpRequest::query_value(std::string_view name) const {
    for (const auto& [key, value] : query) {
        if (key == name) return value;
    }
    return std::nullopt;
}

namespace {

const char* title_of(int status) {
    switch (status) {
        case 400:
            return "Bad request";
        case 401:
            return "Not signed in";
        case 403:
            return "Forbidden";
        case 404:
            return "Not found";
        case 405:
            return "Method not allowed";
        case 408:
            return "Request timed out";
        case 409:
            return "Conflict";
        case 410:
            return "Gone";
        case 412:
            return "Precondition failed";
        case 413:
            return "Request too large";
        case 415:
            return "Unsupported media type";
        case 422:
            return "Validation failed";
        case 428:
            return "Precondition required";
        case 429:
            return "Too many requests";
        case 502:
            return "Bad gateway";
        case 503:
            return "Service unavailable";
        default:
            return "Internal error";
    }
}

Json problem_json(const Problem& problem, const std::string& request_id) {
    Json body{{"type", "about:blank"},    {"title", title_of(problem.status)},
              {"status", problem.status}, {"detail", problem.detail},
              {"code", problem.code},     {"request_id", request_id}};
    if (!problem.errors.empty()) {
        Json errors = Json::array();
        for (const FieldError& error : problem.errors) {
            errors.push_back({{"path", error.path}, {"code", error.code}, {"message", error.message}});
        }
        body["errors"] = std::move(errors);
    }
    return body;
}

}  // namespace

HttpAnswer render(const Answer& answer, const std::string& request_id) {
    HttpAnswer out;
    out.status = answer.status;
    out.headers = answer.headers;
    if (answer.problem) {
        out.content_type = "application/problem+json";
        out.body = to_text(problem_json(*answer.problem, request_id));
    } else if (answer.text) {
        out.content_type = answer.content_type;
        out.body = *answer.text;
    } else if (!answer.body.is_null()) {
        out.content_type = answer.content_type;
        out.body = to_text(answer.body);
    }
    out.headers.emplace_back("X-Request-Id", request_id);
    out.headers.emplace_back("Cache-Control", "no-store");
    out.headers.emplace_back("X-Content-Type-Options", "nosniff");
    return out;
}

}  // namespace lumen::admind

#include "tests/harness/model_server/form_data.h"

namespace lumen::model_server {
namespace {

/// The text between quotes behind `key`, or up to the next `;`.
std::string_view parameter(std::string_view text, std::string_view key) {
    const std::size_t found = text.find(key);
    if (found == std::string_view::npos) return {};
    text.remove_prefix(found + key.size());
    if (!text.empty() && text.front() == '"') return text.substr(1, text.find('"', 1) - 1);
    return text.substr(0, text.find_first_of("; \r\n"));
}

}  // namespace

std::optional<std::vector<FormField>> parse_form(std::string_view content_type, std::string_view body) {
    const std::string_view boundary = parameter(content_type, "boundary=");
    if (boundary.empty()) return std::nullopt;
    const std::string delimiter = "\r\n--" + std::string(boundary);
    if (body.substr(0, delimiter.size() - 2) != std::string_view(delimiter).substr(2)) return std::nullopt;
    body.remove_prefix(delimiter.size() - 2);

    std::vector<FormField> fields;
    while (body.substr(0, 2) == "\r\n") {
        const std::size_t header_end = body.find("\r\n\r\n");
        const std::size_t end = body.find(delimiter, header_end);
        if (header_end == std::string_view::npos || end == std::string_view::npos) return std::nullopt;
        const std::string_view name = parameter(body.substr(0, header_end), " name=");
        fields.push_back({std::string(name), body.substr(header_end + 4, end - header_end - 4)});
        body.remove_prefix(end + delimiter.size());
    }
    return body.substr(0, 2) == "--" ? std::optional(std::move(fields)) : std::nullopt;
}

std::string_view form_value(const std::vector<FormField>& fields, std::string_view name) {
    for (const FormField& field : fields) {
        if (field.name == name) return field.content;
    }
    return {};
}

}  // namespace lumen::model_server

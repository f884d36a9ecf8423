// Reads multipart/form-data bodies, as the speech-to-text paths take them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lumen::model_server {

struct FormField {
    std::string name;
    std::string_view content;  ///< into the body
};

/// The fields in order; nullopt: the type names no boundary, or the body does not follow it.
std::optional<std::vector<FormField>> parse_form(std::string_view content_type, std::string_view body);
/// The first of that name; empty if there is none.
std::string_view form_value(const std::vector<FormField>& fields, std::string_view name);

}  // namespace lumen::model_server

#include "admind/stores/pg_values.h"

#include "admind/text/json.h"

namespace lumen::admind {

std::string sql_texts(const std::vector<std::string>& texts) {
    return to_text(Json(texts));
}

std::vector<std::string> read_texts(const pqxx::field& field) {
    std::vector<std::string> texts;
    if (field.is_null()) return texts;
    const auto json = parse_json(field.c_str());
    if (!json || !json->is_array()) return texts;
    for (const Json& item : *json) {
        if (item.is_string()) texts.push_back(item.get<std::string>());
    }
    return texts;
}

std::string sql_ids(const std::vector<std::int64_t>& ids) {
    std::string text = "{";
    for (const std::int64_t id : ids) text += (text.size() > 1 ? "," : "") + std::to_string(id);
    return text + "}";
}

}  // namespace lumen::admind

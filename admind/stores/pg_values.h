// What libpqxx 6.4 lacks: optional values and lists of text in both directions.
#pragma once

#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "lumen_core/money.h"

namespace lumen::admind {

/// For `nullif($1, '')::bigint` and the like: empty text is null.
inline std::string sql_optional(const std::optional<NanoCoins>& amount) {
    return amount ? std::to_string(amount->nano()) : std::string();
}
inline std::string sql_optional(const std::optional<bool>& flag) {
    return flag ? (*flag ? "true" : "false") : std::string();
}
inline std::string sql_optional(const std::optional<std::int64_t>& number) {
    return number ? std::to_string(*number) : std::string();
}

/// A JSON array, for `array(select jsonb_array_elements_text($1::jsonb))`.
std::string sql_texts(const std::vector<std::string>& texts);
/// For `$1::bigint[]`.
std::string sql_ids(const std::vector<std::int64_t>& ids);
/// From a column given as `to_jsonb(texts)`.
std::vector<std::string> read_texts(const pqxx::field& field);

inline std::optional<bool> read_flag(const pqxx::field& field) {
    return field.is_null() ? std::nullopt : std::optional<bool>(field.as<bool>());
}

}  // namespace lumen::admind

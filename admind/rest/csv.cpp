#include "admind/rest/csv.h"

#include <algorithm>

namespace lumen::admind {

namespace {

constexpr std::string_view kFormulaStarts = "=+-@\t\r";

bool is_number(std::string_view text) {
    if (!text.empty() && text.front() == '-') text.remove_prefix(1);
    const std::size_t point = text.find('.');
    const std::string_view whole = text.substr(0, point);
    const std::string_view part = point == std::string_view::npos ? "0" : text.substr(point + 1);
    const auto digits = [](std::string_view some) {
        return !some.empty() && std::all_of(some.begin(), some.end(), [](char c) { return c >= '0' && c <= '9'; });
    };
    return digits(whole) && digits(part);
}

std::string plain_text(const Json& value) {
    if (value.is_null()) return "";
    return value.is_string() ? value.get<std::string>() : to_text(value);
}

std::string cell_text(const Json& row, const CsvColumn& column) {
    const Json* value = &row;
    for (const std::string& name : column.path) {
        if (!value->is_object() || !value->contains(name)) return "";
        value = &(*value)[name];
    }
    if (value->is_null()) return "";
    if (column.kind == CsvColumn::Kind::coins) return plain_text(value->value("coins", Json()));
    if (column.kind == CsvColumn::Kind::plain || !value->is_array()) return plain_text(*value);
    std::string joined;
    for (const Json& item : *value) joined += (joined.empty() ? "" : "; ") + plain_text(item);
    return joined;
}

std::string name_of(const CsvColumn& column) {
    std::string name;
    for (const std::string& part : column.path) name += (name.empty() ? "" : ".") + part;
    return name;
}

}  // namespace

std::string csv_cell(const std::string& text) {
    const bool formula = !text.empty() && kFormulaStarts.find(text.front()) != std::string_view::npos;
    const std::string shown = formula && !is_number(text) ? "'" + text : text;
    if (shown.find_first_of("\",\r\n") == std::string::npos) return shown;
    std::string quoted = "\"";
    for (const char c : shown) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + "\"";
}

std::string csv_text(const Json& rows, const std::vector<CsvColumn>& columns) {
    std::string text;
    const auto line = [&](const auto& cell_of) {
        for (std::size_t i = 0; i < columns.size(); ++i) text += (i > 0 ? "," : "") + csv_cell(cell_of(columns[i]));
        text += "\r\n";
    };
    line(name_of);
    for (const Json& row : rows) line([&](const CsvColumn& column) { return cell_text(row, column); });
    return text;
}

}  // namespace lumen::admind

#include "admind/rest/contract_types.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace lumen::admind {

namespace {

/// "integer 1..200" → 1 and 200.
struct Bounds {
    std::int64_t least = 0;
    std::int64_t most = 0;
};
std::optional<Bounds> bounds_of(const std::string& text) {
    const std::size_t space = text.find(' ');
    const std::size_t dots = text.find("..");
    if (space == std::string::npos || dots == std::string::npos) return std::nullopt;
    return Bounds{std::stoll(text.substr(space + 1, dots - space - 1)), std::stoll(text.substr(dots + 2))};
}

Json words(const std::string& text) {
    Json list = Json::array();
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        list.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return list;
}

bool begins(const std::string& text, const char* with) {
    return text.rfind(with, 0) == 0;
}

Json or_null(Json schema) {
    if (schema.contains("$ref") || schema.contains("anyOf")) {
        return {{"anyOf", Json::array({std::move(schema), {{"type", "null"}}})}};
    }
    if (schema.contains("enum")) schema["enum"].push_back(nullptr);
    if (schema.contains("type")) schema["type"] = Json::array({schema["type"], "null"});
    return schema;
}

constexpr const char* kAmountPattern = "^-?[0-9]{1,7}(\\.[0-9]{1,9})?$";

}  // namespace

void ContractTypes::add(const std::string& name, const YAML::Node& type) {
    if (!types_.emplace(name, type).second) throw std::runtime_error("admind/openapi: two types `" + name + "`");
}

Json ContractTypes::schema(const YAML::Node& type) const {
    if (type.IsMap()) return object(type);
    if (type.IsSequence() && type.size() == 1) return {{"type", "array"}, {"items", schema(type[0])}};
    if (!type.IsScalar()) throw std::runtime_error("admind/openapi: neither a word, a list of one type, nor members");
    return word(type.Scalar());
}

Json ContractTypes::word(const std::string& text) const {
    if (text.size() > 1 && text.back() == '~') return or_null(word(text.substr(0, text.size() - 1)));
    if (begins(text, "list of ")) return {{"type", "array"}, {"items", word(text.substr(8))}};
    if (begins(text, "map of ")) return {{"type", "object"}, {"additionalProperties", word(text.substr(7))}};
    if (begins(text, "page of ")) {
        const Json cursor{{"type", Json::array({"string", "null"})}};
        return {{"type", "object"},
                {"properties",
                 {{"data", {{"type", "array"}, {"items", word(text.substr(8))}}},
                  {"next_cursor", cursor},
                  {"prev_cursor", cursor},
                  {"total", {{"type", "integer"}}}}},
                {"required", Json::array({"data", "next_cursor", "prev_cursor"})},
                {"additionalProperties", false}};
    }
    if (begins(text, "one of ")) return {{"type", "string"}, {"enum", words(text.substr(7))}};
    if (begins(text, "integer")) {
        Json schema{{"type", "integer"}};
        if (const auto bounds = bounds_of(text)) schema.update({{"minimum", bounds->least}, {"maximum", bounds->most}});
        return schema;
    }
    if (begins(text, "text")) {
        Json schema{{"type", "string"}};
        if (const auto bounds = bounds_of(text)) {
            schema.update({{"minLength", bounds->least}, {"maxLength", bounds->most}});
        }
        return schema;
    }
    if (text == "boolean" || text == "number" || text == "object") return {{"type", text}};
    if (text == "id") return {{"type", "string"}, {"pattern", "^[1-9][0-9]{0,18}$"}};
    if (text == "time") return {{"type", "string"}, {"format", "date-time"}};
    if (text == "amount") return {{"type", "string"}, {"pattern", kAmountPattern}};
    if (text == "amount in") {
        return {{"anyOf", Json::array({{{"type", "string"}, {"pattern", kAmountPattern}}, {{"type", "integer"}}})}};
    }
    if (text == "any") return Json::object();
    if (types_.count(text) == 0) throw std::runtime_error("admind/openapi: no type `" + text + "`");
    return {{"$ref", "#/components/schemas/" + text}};
}

void ContractTypes::add_members(const YAML::Node& members, Json& properties, Json& required) const {
    for (const auto& member : members) {
        std::string name = member.first.Scalar();
        if (name == "...") {  // all members of that type
            const auto other = types_.find(member.second.Scalar());
            if (other == types_.end()) throw std::runtime_error("admind/openapi: no type " + member.second.Scalar());
            add_members(other->second, properties, required);
            continue;
        }
        const bool optional = name.back() == '*';
        if (optional) name.pop_back();
        properties[name] = schema(member.second);
        if (!optional) required.push_back(name);
    }
}

Json ContractTypes::object(const YAML::Node& members) const {
    Json properties = Json::object();
    Json required = Json::array();
    add_members(members, properties, required);
    Json schema{{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
    if (!required.empty()) schema["required"] = std::move(required);
    return schema;
}

Json ContractTypes::all() const {
    Json schemas = Json::object();
    for (const auto& [name, type] : types_) schemas[name] = schema(type);
    return schemas;
}

}  // namespace lumen::admind

#include "tests/admind/private_contract.h"

#include <algorithm>
#include <regex>

#include "admind/rest/api_contract.h"
#include "admind/rest/routes.h"

namespace lumen::admind {

namespace {

bool has_type(const Json& value, const std::string& type) {
    if (type == "null") return value.is_null();
    if (type == "string") return value.is_string();
    if (type == "integer") return value.is_number_integer();
    if (type == "number") return value.is_number();
    if (type == "boolean") return value.is_boolean();
    if (type == "array") return value.is_array();
    return type == "object" && value.is_object();
}

bool has_one_type(const Json& value, const Json& types) {
    if (types.is_string()) return has_type(value, types.get<std::string>());
    return std::any_of(types.begin(), types.end(),
                       [&](const Json& type) { return has_type(value, type.get<std::string>()); });
}

std::string in_text(const Json& schema, const std::string& value) {
    static const std::regex kTime("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z");
    if (schema.value("format", "") == "date-time" && !std::regex_match(value, kTime)) return "is not a time: " + value;
    if (schema.contains("pattern") && !std::regex_search(value, std::regex(schema["pattern"].get<std::string>()))) {
        return "does not match: " + value;
    }
    return "";
}

std::string in_object(const Json& schema, const Json& value, const std::string& place) {
    if (schema.contains("required")) {
        for (const Json& name : schema["required"]) {
            if (!value.contains(name.get<std::string>())) return place + " lacks `" + name.get<std::string>() + "`";
        }
    }
    const Json none = Json::object();
    const Json& properties = schema.contains("properties") ? schema["properties"] : none;
    for (const auto& [name, member] : value.items()) {
        if (properties.contains(name)) {
            if (auto wrong = schema_violation(properties[name], member, place + "." + name); !wrong.empty())
                return wrong;
        } else if (schema.contains("additionalProperties")) {
            const Json& others = schema["additionalProperties"];
            if (others.is_boolean() && !others.get<bool>()) return place + " has an unlisted field `" + name + "`";
            if (others.is_object()) {
                if (auto wrong = schema_violation(others, member, place + "." + name); !wrong.empty()) return wrong;
            }
        }
    }
    return "";
}

const Json* operation_of(const std::string& method, const std::string& path) {
    const FoundRoute found = find_route(method == "HEAD" ? "GET" : method, path.substr(0, path.find('?')));
    if (found.route == nullptr) return nullptr;
    std::string lower(found.route->method);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return static_cast<char>(c - 'A' + 'a'); });
    return &api_contract()["paths"][std::string(found.route->pattern)][lower];
}

/// 404 and 405 of paths and methods that are nobody's; and what is refused before any route is looked for.
std::string without_route(const HttpReply& reply) {
    const bool listed = reply.status == 404 || reply.status == 405 || reply.status == 400 || reply.status == 413;
    if (!listed) return "answers " + std::to_string(reply.status) + " without being a route";
    return schema_violation(api_contract()["components"]["schemas"]["Problem"], reply.body);
}

}  // namespace

std::string schema_violation(const Json& schema, const Json& value, const std::string& place) {
    if (const auto ref = schema.find("$ref"); ref != schema.end()) {
        const std::string name = ref->get<std::string>().substr(std::string("#/components/schemas/").size());
        return schema_violation(api_contract()["components"]["schemas"][name], value, place);
    }
    if (schema.contains("allOf")) {
        for (const Json& part : schema["allOf"]) {
            if (auto wrong = schema_violation(part, value, place); !wrong.empty()) return wrong;
        }
    }
    if (schema.contains("anyOf")) {
        std::string wrong;
        for (const Json& part : schema["anyOf"]) {
            wrong = schema_violation(part, value, place);
            if (wrong.empty()) break;
        }
        if (!wrong.empty()) return place + " is none of its types: " + wrong;
    }
    if (schema.contains("type") && !has_one_type(value, schema["type"])) {
        return place + " is no " + schema["type"].dump() + ": " + value.dump();
    }
    if (schema.contains("enum")) {
        const Json& words = schema["enum"];
        if (std::find(words.begin(), words.end(), value) == words.end()) {
            return place + " is not one of " + words.dump() + ": " + value.dump();
        }
    }
    if (value.is_string()) {
        if (auto wrong = in_text(schema, value.get<std::string>()); !wrong.empty()) return place + " " + wrong;
    }
    if (value.is_object()) return in_object(schema, value, place);
    if (value.is_array() && schema.contains("items")) {
        for (std::size_t i = 0; i < value.size(); ++i) {
            auto wrong = schema_violation(schema["items"], value[i], place + "[" + std::to_string(i) + "]");
            if (!wrong.empty()) return wrong;
        }
    }
    return "";
}

std::string route_of(const std::string& method, const std::string& path) {
    const FoundRoute found = find_route(method, path.substr(0, path.find('?')));
    return found.route == nullptr ? "" : std::string(found.route->method) + " " + std::string(found.route->pattern);
}

std::string contract_violation(const std::string& method, const std::string& path, const HttpReply& reply) {
    if (path.rfind("/v1/", 0) == 0) return "";  // the gate's, with the errors of OpenAI
    const Json* operation = operation_of(method, path);
    if (operation == nullptr) return without_route(reply);
    const auto response = (*operation)["responses"].find(std::to_string(reply.status));
    if (response == (*operation)["responses"].end()) return "answers " + std::to_string(reply.status) + ", unlisted";
    if (method == "HEAD") return "";
    const std::string given = reply.header("content-type");
    const std::string type = given.substr(0, given.find(';'));
    const bool has_body = response->contains("content");
    if (!has_body) return reply.text.empty() ? "" : "has a body, unlisted";
    const auto content = (*response)["content"].find(type);
    if (content == (*response)["content"].end()) return "answers in `" + type + "`, unlisted";
    const bool json = type == "application/json" || type == "application/problem+json";
    return json ? schema_violation((*content)["schema"], reply.body, "body") : "";
}

}  // namespace lumen::admind

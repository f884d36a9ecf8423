#include "admind/rest/api_contract.h"

#include <yaml-cpp/yaml.h>

#include <map>
#include <set>
#include <sstream>
#include <stdexcept>

#include "admind/rest/contract_types.h"
#include "admind/rest/routes.h"

namespace lumen::admind {

namespace {

constexpr const char* kJsonType = "application/json";
constexpr const char* kProblemType = "application/problem+json";

/// code lists by status, as an operation's answers grow.
using Refusals = std::map<int, std::set<std::string>>;

struct Entry {
    std::string file;
    YAML::Node node;
};

std::string key_of(std::string_view method, std::string_view pattern) {
    return std::string(method) + " " + std::string(pattern);
}

const char* caller_letter(Who who) {
    switch (who) {
        case Who::anyone:
        case Who::visitor:
            return "P";
        case Who::user:
            return "U";
        case Who::member:
            return "M";
        case Who::admin:
            return "A";
        case Who::token_admin:
            return "X";
    }
    return "X";
}

Json security_of(Who who) {
    const Json session{{"session", Json::array()}};
    const Json operator_token{{"operator", Json::array()}};
    if (who == Who::anyone) return Json::array({Json::object()});
    if (who == Who::visitor) return Json::array({Json::object(), session});
    if (who == Who::user) return Json::array({session});
    return Json::array({session, operator_token});
}

Json parameter(const char* in, const std::string& name, Json schema, bool required) {
    return {{"name", name}, {"in", in}, {"required", required}, {"schema", std::move(schema)}};
}

std::vector<std::string> path_parameters(std::string_view pattern) {
    std::vector<std::string> names;
    for (std::size_t open = pattern.find('{'); open != std::string_view::npos; open = pattern.find('{', open + 1)) {
        names.emplace_back(pattern.substr(open + 1, pattern.find('}', open) - open - 1));
    }
    return names;
}

Json query_parameters(const YAML::Node& entry, const ContractTypes& types) {
    Json parameters = Json::array();
    const auto add = [&](const char* name, Json schema) {
        parameters.push_back(parameter("query", name, std::move(schema), false));
    };
    if (entry["list"]) {
        add("limit", types.schema("integer 1..200"));
        add("cursor", types.schema("text"));
        add("count", types.schema("boolean"));
    }
    if (entry["sort"]) {
        Json orders = Json::array();
        for (const auto& column : entry["sort"]) {
            orders.push_back(column.Scalar());
            orders.push_back("-" + column.Scalar());
        }
        add("sort", {{"type", "string"}, {"enum", std::move(orders)}});
    }
    if (entry["search"]) add("q", types.schema("text"));
    if (entry["csv"]) add("format", types.schema("one of json csv"));
    for (const auto& own : entry["query"]) {
        std::string name = own.first.Scalar();
        const bool required = name.back() == '!';
        if (required) name.pop_back();
        parameters.push_back(parameter("query", name, types.schema(own.second), required));
    }
    return parameters;
}

Json parameters_of(const Route& route, const YAML::Node& entry, const ContractTypes& types) {
    Json parameters = Json::array();
    for (const std::string& name : path_parameters(route.pattern)) {
        parameters.push_back(parameter("path", name, types.schema("text"), true));
    }
    for (Json& own : query_parameters(entry, types)) parameters.push_back(std::move(own));
    if (route.demand == Demand::if_match) {
        parameters.push_back(parameter("header", "If-Match", types.schema("text"), true));
    }
    if (route.demand == Demand::idempotency_key) {
        parameters.push_back(parameter("header", "Idempotency-Key", types.schema("text 1..255"), true));
    }
    return parameters;
}

/// What every request of this kind may be refused with.
Refusals common_refusals(const Route& route, const YAML::Node& entry) {
    Refusals refusals;
    refusals[400] = {"invalid_request"};
    refusals[408] = {"request_timeout"};
    refusals[413] = {"request_too_large"};
    refusals[503] = {"database_unavailable", "redis_unavailable"};
    const bool unsafe = route.method != "GET";
    if (entry["list"]) refusals[400].insert({"invalid_cursor", "invalid_sort"});
    if (route.who != Who::anyone && route.who != Who::visitor) refusals[401].insert("unauthenticated");
    if (route.who == Who::user) refusals[403].insert("operator_not_allowed");
    if (route.who == Who::admin || route.who == Who::token_admin || route.who == Who::member) {
        refusals[403].insert({"forbidden", "insufficient_scope"});
    }
    if (!path_parameters(route.pattern).empty()) refusals[404].insert("not_found");
    if (unsafe) {
        refusals[403].insert("csrf_rejected");
        refusals[415].insert("unsupported_media_type");
        refusals[429].insert("rate_limited");
    }
    if (entry["body"] || entry["body*"]) refusals[422].insert("validation_failed");
    if (route.demand == Demand::if_match) {
        refusals[412].insert("precondition_failed");
        refusals[428].insert("precondition_required");
    }
    if (route.demand == Demand::idempotency_key) {
        refusals[400].insert("idempotency_key_required");
        refusals[409].insert("idempotency_in_progress");
        refusals[422].insert("idempotency_key_reused");
    }
    return refusals;
}

void add_own_refusals(const Entry& entry, Refusals& refusals) {
    for (const auto& item : entry.node["errors"]) {
        const std::string& text = item.Scalar();  // "409 email_taken"
        if (text.size() < 5 || text[3] != ' ') throw std::runtime_error(entry.file + ": not an error: " + text);
        refusals[std::stoi(text.substr(0, 3))].insert(text.substr(4));
    }
}

Json refusal_response(const std::set<std::string>& codes) {
    std::string description;
    for (const std::string& code : codes) description += (description.empty() ? "" : ", ") + code;
    const Json coded{{"properties", {{"code", {{"enum", codes}}}}}};
    return {{"description", description},
            {"content",
             {{kProblemType,
               {{"schema", {{"allOf", Json::array({{{"$ref", "#/components/schemas/Problem"}}, coded})}}}}}}}};
}

Json header(const char* description) {
    return {{"description", description}, {"schema", {{"type", "string"}}}};
}

Json good_response(const YAML::Node& what, const YAML::Node& entry, const ContractTypes& types) {
    Json response{{"description", entry["is"].Scalar()}};
    const std::string word = what.IsScalar() ? what.Scalar() : std::string();
    if (word == "redirect") {
        response["headers"]["Location"] = header("Where to go on");
    } else if (word.compare(0, 6, "media ") == 0) {
        std::istringstream types_of_media(word.substr(6));
        for (std::string type; types_of_media >> type;) response["content"][type]["schema"] = {{"type", "string"}};
    } else if (word != "none") {
        response["content"][kJsonType]["schema"] = types.schema(what);
    }
    if (entry["etag"]) response["headers"]["ETag"] = header("For If-Match");
    return response;
}

Json responses_of(const Route& route, const Entry& entry, const ContractTypes& types) {
    Json responses = Json::object();
    for (const auto& member : entry.node) {
        const std::string& status = member.first.Scalar();
        if (status.size() == 3 && status[0] >= '2' && status[0] <= '5') {
            responses[status] = good_response(member.second, entry.node, types);
        }
    }
    if (entry.node["list"]) {
        responses["200"] = good_response(YAML::Node("page of " + entry.node["list"].Scalar()), entry.node, types);
    }
    if (entry.node["csv"]) responses["200"]["content"]["text/csv"]["schema"] = {{"type", "string"}};
    if (responses.empty())
        throw std::runtime_error(entry.file + ": no answer is listed for " + entry.node["is"].Scalar());
    Refusals refusals = common_refusals(route, entry.node);
    add_own_refusals(entry, refusals);
    for (const auto& [status, codes] : refusals) {
        Json refusal = refusal_response(codes);
        if (status == 429 || status == 503) refusal["headers"]["Retry-After"] = header("Seconds to wait");
        const std::string text = std::to_string(status);
        if (responses.contains(text))
            responses[text]["content"].update(refusal["content"]);
        else
            responses[text] = std::move(refusal);
    }
    return responses;
}

std::string operation_id(const Route& route) {
    std::string id(route.method);
    for (const char c : route.pattern.substr(1)) id += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '_';
    return id;
}

Json operation_of(const Route& route, const Entry& entry, const ContractTypes& types) {
    if (!entry.node["is"])
        throw std::runtime_error(entry.file + ": no `is` for " + key_of(route.method, route.pattern));
    Json operation{{"operationId", operation_id(route)},
                   {"summary", entry.node["is"].Scalar()},
                   {"tags", {entry.file}},
                   {"x-lumen-who", caller_letter(route.who)},
                   {"security", security_of(route.who)},
                   {"parameters", parameters_of(route, entry.node, types)}};
    for (const char* name : {"body", "body*"}) {
        if (!entry.node[name]) continue;
        operation["requestBody"] = {{"required", std::string_view(name) == "body"},
                                    {"content", {{kJsonType, {{"schema", types.schema(entry.node[name])}}}}}};
    }
    operation["responses"] = responses_of(route, entry, types);
    return operation;
}

std::string lower(std::string_view method) {
    std::string text(method);
    for (char& c : text) c = static_cast<char>(c - 'A' + 'a');
    return text;
}

/// `gate: U` in place of a row in the route table: nginx answers it itself, and holds its callers to that letter.
void add_routes_of_the_gate(std::map<std::string, Entry>& entries, const ContractTypes& types, Json& paths) {
    for (auto entry = entries.begin(); entry != entries.end();) {
        if (!entry->second.node["gate"]) {
            ++entry;
            continue;
        }
        if (entry->second.node["gate"].Scalar() != "U")
            throw std::runtime_error(entry->first + ": gate: U, or a route");
        const std::size_t space = entry->first.find(' ');
        const std::string_view whole = entry->first;
        const Route route{whole.substr(0, space), whole.substr(space + 1), Who::user, nullptr};
        paths[std::string(route.pattern)][lower(route.method)] = operation_of(route, entry->second, types);
        entry = entries.erase(entry);
    }
}

Json make_contract() {
    ContractTypes types;
    std::map<std::string, Entry> entries;
    for (const ContractFile& file : contract_files()) {
        const YAML::Node root = YAML::Load(file.yaml);
        for (const auto& type : root["types"]) types.add(type.first.Scalar(), type.second);
        for (const auto& entry : root["routes"]) entries[entry.first.Scalar()] = {file.name, entry.second};
    }
    Json paths = Json::object();
    for (const Route& route : routes()) {
        const auto entry = entries.find(key_of(route.method, route.pattern));
        if (entry == entries.end()) {
            throw std::runtime_error("admind/openapi says nothing of " + key_of(route.method, route.pattern));
        }
        paths[std::string(route.pattern)][lower(route.method)] = operation_of(route, entry->second, types);
        entries.erase(entry);
    }
    add_routes_of_the_gate(entries, types, paths);
    if (!entries.empty()) {
        throw std::runtime_error("admind/openapi/" + entries.begin()->second.file + ".yaml: there is no route " +
                                 entries.begin()->first);
    }
    Json schemes{{"session", {{"type", "apiKey"}, {"in", "cookie"}, {"name", "lumen_session"}}},
                 {"operator", {{"type", "http"}, {"scheme", "bearer"}, {"description", "lop_…, see scopes"}}}};
    return {{"openapi", "3.1.0"},
            {"info", {{"title", "Lumen"}, {"version", LUMEN_VERSION}}},
            {"paths", std::move(paths)},
            {"components", {{"schemas", types.all()}, {"securitySchemes", std::move(schemes)}}}};
}

}  // namespace

const Json& api_contract() {
    static const Json contract = make_contract();
    return contract;
}

namespace {

const Json& resolved(const Json& schema) {
    if (const auto ref = schema.find("$ref"); ref != schema.end()) {
        const std::string& name = ref->get_ref<const std::string&>();
        return api_contract()["components"]["schemas"][name.substr(name.rfind('/') + 1)];
    }
    // A type that may be null: its columns are those of the type.
    if (const auto any = schema.find("anyOf"); any != schema.end()) return resolved(any->front());
    return schema;
}

bool is_coins(const Json& schema) {
    const auto properties = schema.find("properties");
    return properties != schema.end() && properties->size() == 2 && properties->contains("nano");
}

void add_columns(const Json& schema, std::vector<std::string> path, std::vector<CsvColumn>& columns) {
    const Json& type = resolved(schema);
    if (is_coins(type)) {
        columns.push_back({std::move(path), CsvColumn::Kind::coins});
    } else if (const auto properties = type.find("properties"); properties != type.end()) {
        for (const auto& [name, member] : properties->items()) {
            path.push_back(name);
            add_columns(member, path, columns);
            path.pop_back();
        }
    } else {
        columns.push_back({std::move(path), type.contains("items") ? CsvColumn::Kind::list : CsvColumn::Kind::plain});
    }
}

}  // namespace

std::vector<CsvColumn> csv_columns(std::string_view method, std::string_view pattern) {
    std::vector<CsvColumn> columns;
    const Json& content = api_contract()["paths"][std::string(pattern)][lower(method)]["responses"]["200"]["content"];
    if (!content.contains("text/csv")) return columns;
    add_columns(content[kJsonType]["schema"]["properties"]["data"]["items"], {}, columns);
    return columns;
}

}  // namespace lumen::admind

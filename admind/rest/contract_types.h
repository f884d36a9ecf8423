// The short notation of admind/openapi/*.yaml for types, turned into JSON Schema (docs/develop.md lists it).
#pragma once

#include <yaml-cpp/yaml.h>

#include <map>
#include <string>

#include "admind/text/json.h"

namespace lumen::admind {

class ContractTypes {
 public:
    void add(const std::string& name, const YAML::Node& type);
    /// Throws std::runtime_error for a word that is no type.
    Json schema(const YAML::Node& type) const;
    Json schema(const char* type) const { return schema(YAML::Node(std::string(type))); }
    /// Every type under its name.
    Json all() const;

 private:
    Json object(const YAML::Node& members) const;
    void add_members(const YAML::Node& members, Json& properties, Json& required) const;
    Json word(const std::string& text) const;

    std::map<std::string, YAML::Node> types_;
};

}  // namespace lumen::admind

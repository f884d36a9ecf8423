// lumen.yaml as a JSON document that travels: secrets masked on the way out and put back on the way in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "admind/text/json.h"

namespace lumen::admind {

inline constexpr const char* kMaskedSecret = "********";

/// Merge keys are resolved, the last of equal keys counts. Numbers with a fraction become text, exactly as written.
/// Throws YAML::Exception or std::runtime_error for a file that is no document of ours.
Json config_document(std::string_view yaml);
/// The document as YAML that reads back to the same.
std::string config_yaml(const Json& document);

/// Every secret that is written out becomes the mask; `${NAME}` and `${file:…}` say where one is, and stay.
Json masked_config(const Json& document);
/// Masks become what `stored` has at their place: models by name, endpoints by id, else by address and model. The
/// places of those that have nothing to go back to.
std::vector<std::string> restore_secrets(Json& document, const Json& stored);

/// Places where two documents differ, as [{path, before, after}]; both masked already.
Json config_difference(const Json& before, const Json& after);

}  // namespace lumen::admind

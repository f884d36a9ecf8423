#include "lumen_core/checked_json.h"

#include <utility>

namespace lumen {

void JsonFault::note(std::string_view path, std::string_view reason) {
    if (found()) return;
    text_.append(path).append(path.empty() ? "" : ": ").append(reason);
}

CheckedObject::CheckedObject(simdjson::dom::element element, std::string path, JsonFault& fault)
    : path_(std::move(path)), fault_(&fault) {
    is_object_ = !element.get_object().get(members_);
    if (!is_object_) wrong("must be an object");
}

std::int64_t CheckedObject::integer(std::string_view key, std::int64_t least, std::int64_t most) const {
    simdjson::dom::element element;
    if (!find(key, element)) return 0;
    std::int64_t value = 0;
    if (element.get_int64().get(value)) {
        wrong(key, "must be an integer");
        return 0;
    }
    if (value < least || value > most) {
        wrong(key, "must be " + std::to_string(least) + (least == most ? "" : " to " + std::to_string(most)));
        return 0;
    }
    return value;
}

bool CheckedObject::flag(std::string_view key) const {
    simdjson::dom::element element;
    if (!find(key, element)) return false;
    bool value = false;
    if (element.get_bool().get(value)) wrong(key, "must be true or false");
    return value;
}

std::string_view CheckedObject::text(std::string_view key, std::size_t shortest, std::size_t longest) const {
    simdjson::dom::element element;
    if (!find(key, element)) return {};
    std::string_view value;
    if (element.get_string().get(value)) {
        wrong(key, "must be a string");
        return {};
    }
    if (value.size() < shortest || value.size() > longest) {
        wrong(key, "must be " + std::to_string(shortest) + " to " + std::to_string(longest) + " bytes");
        return {};
    }
    return value;
}

std::string CheckedObject::json(std::string_view key) const {
    simdjson::dom::element element;
    if (!find(key, element)) return {};
    if (!element.is_object()) {
        wrong(key, "must be an object");
        return {};
    }
    return simdjson::minify(element);
}

bool CheckedObject::find(std::string_view key, simdjson::dom::element& found) const {
    if (!is_object_) return false;  // noted when it was made
    if (members_.at_key(key).get(found)) {
        wrong(key, "is required");
        return false;
    }
    return true;
}

bool CheckedObject::find_array(std::string_view key, std::size_t most, simdjson::dom::array& found) const {
    simdjson::dom::element element;
    if (!find(key, element)) return false;
    if (element.get_array().get(found)) {
        wrong(key, "must be an array");
        return false;
    }
    if (found.size() > most) {
        wrong(key, "more than " + std::to_string(most));
        return false;
    }
    return true;
}

std::string CheckedObject::path_of(std::string_view key) const {
    std::string path = path_;
    if (!path.empty()) path += '.';
    return path.append(key);
}

}  // namespace lumen

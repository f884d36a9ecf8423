#include "admind/settings/config_document.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <functional>
#include <set>
#include <stdexcept>

namespace lumen::admind {

namespace {

constexpr int kDeepest = 32;
constexpr std::size_t kMostNodes = 500'000;  // aliases may make a small file a large document

bool is_whole_number(const std::string& text) {
    const std::size_t begin = !text.empty() && text.front() == '-' ? 1 : 0;
    const bool digits = text.size() > begin && text.size() <= begin + 15 &&
                        std::all_of(text.begin() + static_cast<std::ptrdiff_t>(begin), text.end(),
                                    [](char c) { return c >= '0' && c <= '9'; });
    return digits && (text.size() == begin + 1 || text[begin] != '0');
}

Json scalar_json(const YAML::Node& node) {
    const std::string& text = node.Scalar();
    if (node.Tag() == "!") return text;  // quoted: text, whatever it looks like
    // `yes` and `off` stay words: they may be names, and mean the same as booleans when they are read.
    if (text == "true" || text == "false") return text == "true";
    return is_whole_number(text) ? Json(std::stoll(text)) : Json(text);
}

class DocumentReader {
 public:
    Json read(const YAML::Node& node, int depth) {
        if (depth > kDeepest || ++nodes_ > kMostNodes) throw std::runtime_error("the file is too deep or too large");
        if (!node.IsDefined() || node.IsNull()) return nullptr;
        if (node.IsScalar()) return scalar_json(node);
        if (node.IsSequence()) {
            Json list = Json::array();
            for (const auto& item : node) list.push_back(read(item, depth + 1));
            return list;
        }
        Json map = Json::object();
        std::vector<YAML::Node> merged;
        for (const auto& pair : node) {
            const std::string key = pair.first.Scalar();
            if (key != "<<")
                map[key] = read(pair.second, depth + 1);
            else if (pair.second.IsSequence())
                for (const auto& one : pair.second) merged.push_back(one);
            else
                merged.push_back(pair.second);
        }
        for (const YAML::Node& one : merged) {
            const Json more = read(one, depth + 1);
            if (!more.is_object()) continue;
            for (const auto& [key, value] : more.items()) {
                if (!map.contains(key)) map[key] = value;
            }
        }
        return map;
    }

 private:
    std::size_t nodes_ = 0;
};

void emit(YAML::Emitter& out, const Json& value) {
    if (value.is_object()) {
        out << YAML::BeginMap;
        for (const auto& [key, member] : value.items()) {
            out << YAML::Key << key << YAML::Value;
            emit(out, member);
        }
        out << YAML::EndMap;
    } else if (value.is_array()) {
        out << YAML::BeginSeq;
        for (const Json& item : value) emit(out, item);
        out << YAML::EndSeq;
    } else if (value.is_string()) {
        out << YAML::DoubleQuoted << value.get_ref<const std::string&>();  // so that text stays text
    } else if (value.is_null()) {
        out << YAML::Null;
    } else {
        out << value.dump();
    }
}

/// Keys whose values are secrets, wherever they are; of `url` only the two that hold a password.
bool is_secret(const std::string& path, const std::string& key) {
    static const std::set<std::string, std::less<>> kSecretKeys{
        "secret_key", "encryption_key", "previous_encryption_key", "client_secret", "api_key", "token",
        "password",   "secret"};
    return kSecretKeys.count(key) > 0 || path == "app.database.url" || path == "redis.url" ||
           path == "app.database_url" || path == "rate_limiting.storage_url";
}

bool is_reference(const std::string& text) {
    return text.rfind("${", 0) == 0 && text.back() == '}' && text.find('}') == text.size() - 1;
}

using Visit = std::function<void(const std::string& path, Json& secret)>;

void visit_secrets(Json& value, const std::string& path, const Visit& visit) {
    if (value.is_object()) {
        for (const auto& [key, member] : value.items()) {
            const std::string place = path.empty() ? key : path + "." + key;
            if (is_secret(place, key) && member.is_string())
                visit(place, member);
            else
                visit_secrets(member, place, visit);
        }
    } else if (value.is_array()) {
        for (std::size_t i = 0; i < value.size(); ++i) {
            const bool named = value[i].is_object() && value[i].contains("name") && value[i]["name"].is_string();
            const std::string mark = named ? value[i]["name"].get<std::string>() : std::to_string(i);
            visit_secrets(value[i], path + "[" + mark + "]", visit);
        }
    }
}

std::string text_member(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// The item of `stored` that is the same thing as `item`; by place where nothing names it.
const Json* same_item(const Json& stored, const Json& item, std::size_t place) {
    if (!stored.is_array()) return nullptr;
    if (item.is_object()) {
        for (const char* key : {"name", "id"}) {
            const std::string mark = text_member(item, key);
            if (mark.empty()) continue;
            for (const Json& other : stored) {
                if (other.is_object() && text_member(other, key) == mark) return &other;
            }
        }
        // Without an id, an endpoint is its address: a credential goes to no other server than it did.
        const std::string url = text_member(item, "url");
        std::size_t equal = 0;
        const Json* found = nullptr;
        for (std::size_t i = 0; i < stored.size(); ++i) {
            const Json& other = stored[i];
            if (!other.is_object() || url.empty() || text_member(other, "url") != url) continue;
            if (text_member(other, "model") != text_member(item, "model")) continue;
            ++equal;
            if (found == nullptr || i == place) found = &other;
        }
        return equal > 0 ? found : nullptr;
    }
    return place < stored.size() ? &stored[place] : nullptr;
}

void restore(Json& value, const Json* stored, const std::string& path, std::vector<std::string>& lost) {
    if (value.is_object()) {
        for (const auto& [key, member] : value.items()) {
            const std::string place = path.empty() ? key : path + "." + key;
            const Json* there =
                stored != nullptr && stored->is_object() && stored->contains(key) ? &(*stored)[key] : nullptr;
            if (!is_secret(place, key) || !member.is_string()) {
                restore(member, there, place, lost);
            } else if (member == kMaskedSecret) {
                if (there != nullptr && there->is_string() && *there != kMaskedSecret)
                    member = *there;
                else
                    lost.push_back(place);
            }
        }
    } else if (value.is_array()) {
        for (std::size_t i = 0; i < value.size(); ++i) {
            const std::string name = value[i].is_object() ? text_member(value[i], "name") : std::string();
            restore(value[i], stored == nullptr ? nullptr : same_item(*stored, value[i], i),
                    path + "[" + (name.empty() ? std::to_string(i) : name) + "]", lost);
        }
    }
}

void differ(const Json& before, const Json& after, const std::string& path, Json& differences) {
    if (before == after) return;
    if (before.is_object() && after.is_object()) {
        for (const auto& [key, value] : before.items()) {
            differ(value, after.contains(key) ? after[key] : Json(), path.empty() ? key : path + "." + key,
                   differences);
        }
        for (const auto& [key, value] : after.items()) {
            if (!before.contains(key)) differ(nullptr, value, path.empty() ? key : path + "." + key, differences);
        }
        return;
    }
    differences.push_back({{"path", path}, {"before", before}, {"after", after}});
}

}  // namespace

Json config_document(std::string_view yaml) {
    const Json document = DocumentReader().read(YAML::Load(std::string(yaml)), 0);
    return document.is_null() ? Json::object() : document;
}

std::string config_yaml(const Json& document) {
    YAML::Emitter out;
    out.SetIndent(2);
    emit(out, document);
    return std::string(out.c_str()) + "\n";
}

Json masked_config(const Json& document) {
    Json masked = document;
    visit_secrets(masked, "", [](const std::string&, Json& secret) {
        const std::string& text = secret.get_ref<const std::string&>();
        if (!text.empty() && !is_reference(text)) secret = kMaskedSecret;
    });
    return masked;
}

std::vector<std::string> restore_secrets(Json& document, const Json& stored) {
    std::vector<std::string> lost;
    restore(document, &stored, "", lost);
    return lost;
}

Json config_difference(const Json& before, const Json& after) {
    Json differences = Json::array();
    differ(before, after, "", differences);
    return differences;
}

}  // namespace lumen::admind

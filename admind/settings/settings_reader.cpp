#include "admind/settings/settings_reader.h"

#include <algorithm>
#include <charconv>
#include <fstream>

#include "admind/settings/settings_values.h"
#include "lumen_core/api_key.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kMostKeys = 10'000;                       // of one section: users are the largest
constexpr std::size_t kMostItems = 10'000;                      // of one list
constexpr std::size_t kMostTextBytes = std::size_t{64} * 1024;  // a notice is the longest text there is
constexpr std::size_t kMostSecretFileBytes = std::size_t{64} * 1024;
constexpr std::size_t kMostShownBytes = 64;

bool is_null(const YAML::Node& node) {
    return !node.IsDefined() || node.IsNull();
}

std::string shown(const YAML::Node& node) {
    if (node.IsMap()) return "a section";
    if (node.IsSequence()) return "a list";
    return "\"" + node.Scalar().substr(0, kMostShownBytes) + "\"";
}

std::optional<std::string> file_text(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return std::nullopt;
    std::string text(kMostSecretFileBytes, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad()) return std::nullopt;
    text.resize(static_cast<std::size_t>(file.gcount()));
    return std::string(strip_final_newline(text));
}

}  // namespace

void SettingsReport::error(std::string path, std::string reason) {
    failed_ = true;
    add({Finding::Severity::error, std::move(path), std::move(reason)});
}

void SettingsReport::warning(std::string path, std::string reason) {
    add({Finding::Severity::warning, std::move(path), std::move(reason)});
}

void SettingsReport::add(Finding finding) {
    // A section that is read in two places (defaults, app) is remarked upon once.
    const bool known = std::any_of(findings_.begin(), findings_.end(), [&](const Finding& other) {
        return other.path == finding.path && other.reason == finding.reason;
    });
    if (!known) findings_.push_back(std::move(finding));
}

Section::Section(SettingsReport& report, const YAML::Node& node, std::string path)
    : report_(&report), path_(std::move(path)) {
    if (is_null(node)) return;
    if (!node.IsMap()) {
        report.error(path_, "expected a section, got " + shown(node));
        return;
    }
    std::vector<YAML::Node> merged;
    for (const auto& pair : node) {
        if (!pair.first.IsScalar() || entries_.size() >= kMostKeys) {
            report.error(path_, entries_.size() >= kMostKeys ? "too many keys" : "expected text as a key");
            return;
        }
        const std::string& key = pair.first.Scalar();
        if (key == "<<") {
            if (pair.second.IsSequence()) {
                for (const auto& one : pair.second) merged.push_back(one);
            } else {
                merged.push_back(pair.second);
            }
            continue;
        }
        auto known =
            std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
        if (known != entries_.end()) {
            report.warning(path_of(key), "is there twice; the last one counts");
            known->node.reset(pair.second);  // assignment would overwrite the document's own node
        } else {
            entries_.push_back({key, pair.second});
        }
    }
    for (const YAML::Node& map : merged) {
        if (!map.IsMap()) {
            report.error(path_of("<<"), "expected a section, got " + shown(map));
            continue;
        }
        for (const auto& pair : map) {
            if (pair.first.IsScalar() && find(pair.first.Scalar()) == nullptr) {
                entries_.push_back({pair.first.Scalar(), pair.second});
            }
        }
    }
}

std::string Section::path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

const Section::Entry* Section::find(std::string_view key) const {
    for (const Entry& entry : entries_) {
        if (entry.key == key) return &entry;
    }
    return nullptr;
}

bool Section::has(std::string_view key) const {
    const Entry* entry = find(key);
    return entry != nullptr && !is_null(entry->node);
}

std::vector<std::string> Section::keys() const {
    std::vector<std::string> keys;
    keys.reserve(entries_.size());
    for (const Entry& entry : entries_) keys.push_back(entry.key);
    return keys;
}

YAML::Node Section::raw(std::string_view key) {
    asked_.emplace(key);
    const Entry* entry = find(key);
    return entry == nullptr || is_null(entry->node) ? YAML::Node(YAML::NodeType::Undefined) : entry->node;
}

Section Section::section(std::string_view key) {
    asked_.emplace(key);
    const Entry* entry = find(key);
    return Section(*report_, entry == nullptr ? YAML::Node() : entry->node, path_of(key));
}

std::vector<Section::Item> Section::list(std::string_view key) {
    asked_.emplace(key);
    std::vector<Item> items;
    const Entry* entry = find(key);
    if (entry == nullptr || is_null(entry->node)) return items;
    if (!entry->node.IsSequence()) {
        error(key, "expected a list, got " + shown(entry->node));
        return items;
    }
    if (entry->node.size() > kMostItems) {
        error(key, "more than " + std::to_string(kMostItems) + " items");
        return items;
    }
    std::size_t index = 0;
    for (const auto& node : entry->node) items.push_back({node, path_of(key) + "[" + std::to_string(index++) + "]"});
    return items;
}

std::optional<std::string> item_text(SettingsReport& report, const Section::Item& item) {
    if (!item.node.IsScalar() || item.node.Scalar().size() > kMostTextBytes) {
        report.error(item.path,
                     "expected text, got " + (is_null(item.node) ? std::string("nothing") : shown(item.node)));
        return std::nullopt;
    }
    return item.node.Scalar();
}

std::vector<std::string> Section::texts(std::string_view key) {
    std::vector<std::string> texts;
    for (const Item& item : list(key)) {
        if (auto text = item_text(*report_, item)) texts.push_back(std::move(*text));
    }
    return texts;
}

std::optional<std::string> Section::scalar(std::string_view key, std::string_view expected) {
    asked_.emplace(key);
    const Entry* entry = find(key);
    if (entry == nullptr || is_null(entry->node)) return std::nullopt;
    if (!entry->node.IsScalar()) {
        error(key, "expected " + std::string(expected) + ", got " + shown(entry->node));
        return std::nullopt;
    }
    if (entry->node.Scalar().size() > kMostTextBytes) {
        error(key, "longer than " + std::to_string(kMostTextBytes) + " bytes");
        return std::nullopt;
    }
    return entry->node.Scalar();
}

std::optional<std::string> Section::text(std::string_view key) {
    return scalar(key, "text");
}

std::string Section::text(std::string_view key, std::string_view fallback) {
    return text(key).value_or(std::string(fallback));
}

std::string Section::word(std::string_view key, std::string_view fallback, const std::vector<std::string>& allowed) {
    auto given = text(key);
    if (!given) return std::string(fallback);
    if (std::find(allowed.begin(), allowed.end(), *given) != allowed.end()) return *given;
    std::string reason = "must be ";
    for (std::size_t i = 0; i < allowed.size(); ++i) {
        if (i > 0) reason += i + 1 == allowed.size() ? " or " : ", ";
        reason += allowed[i];
    }
    error(key, reason);
    return std::string(fallback);
}

std::optional<bool> Section::boolean(std::string_view key) {
    const auto given = scalar(key, "true or false");
    if (!given) return std::nullopt;
    bool value = false;
    if (!YAML::convert<bool>::decode(find(key)->node, value)) {
        error(key, "expected true or false, got " + shown(find(key)->node));
        return std::nullopt;
    }
    return value;
}

bool Section::boolean(std::string_view key, bool fallback) {
    return boolean(key).value_or(fallback);
}

std::optional<std::int64_t> Section::integer(std::string_view key, std::int64_t least, std::int64_t most) {
    const auto given = scalar(key, "integer");
    if (!given) return std::nullopt;
    std::int64_t value = 0;
    const char* end = given->data() + given->size();
    const auto [stop, problem] = std::from_chars(given->data(), end, value);
    if (problem == std::errc::invalid_argument || stop != end) {
        error(key, "expected integer, got " + shown(find(key)->node));
        return std::nullopt;
    }
    if (problem != std::errc{} || value < least || value > most) {
        error(key, "must be " + std::to_string(least) + " to " + std::to_string(most));
        return std::nullopt;
    }
    return value;
}

std::optional<NanoCoins> Section::amount(std::string_view key, AmountKind kind) {
    const auto given = scalar(key, "decimal");
    if (!given) return std::nullopt;
    const AmountResult result = parse_amount(*given);
    if (!result.amount) {
        error(key, result.reason);
        return std::nullopt;
    }
    if (*result.amount >= NanoCoins(0)) return result.amount;
    constexpr NanoCoins kMinusTwoCoins{-2'000'000'000};
    if (kind == AmountKind::max && *result.amount == kMinusTwoCoins) return NanoCoins(-2);
    error(key, kind == AmountKind::max ? "must be -2, 0 or positive" : "must be 0 or more");
    return std::nullopt;
}

std::optional<AccessRule> Section::access(std::string_view key) {
    const auto given = scalar(key, "allowed or blocked");
    if (!given) return std::nullopt;
    if (*given == "allowed" || *given == "blocked") {
        return *given == "allowed" ? AccessRule::allowed : AccessRule::blocked;
    }
    if (*given == "whitelist" || *given == "blacklist") {
        const bool allowed = *given == "whitelist";
        warning(key, "`" + *given + "` is `" + (allowed ? "allowed" : "blocked") + "` here");
        return allowed ? AccessRule::allowed : AccessRule::blocked;
    }
    if (*given == "graylist") {
        warning(key, "`graylist` is `allowed` plus `needs_ack` on the models here");
        return AccessRule::allowed;
    }
    error(key, "must be allowed or blocked");
    return std::nullopt;
}

std::vector<Rate> Section::rates(std::string_view key, std::string_view fallback) {
    const auto given = scalar(key, "a rate");
    auto parsed = parse_rates(given.value_or(std::string(fallback)));
    if (!parsed) {
        error(key, "not a rate");
        return {};
    }
    return std::move(*parsed);
}

std::optional<std::int64_t> Section::utc_time_ms(std::string_view key) {
    const auto given = scalar(key, "a UTC time");
    if (!given) return std::nullopt;
    const auto parsed = parse_utc_time(*given);
    if (!parsed) error(key, "not a UTC time");
    return parsed;
}

std::optional<std::string> Section::email(std::string_view key) {
    const auto given = text(key);
    if (!given || given->empty()) return std::nullopt;
    std::string email = normalised_email(*given);
    if (is_email(email)) return email;
    error(key, "not an email address");
    return std::nullopt;
}

std::optional<std::string> Section::expanded(std::string_view key, const std::string& text) {
    std::string out;
    std::size_t at = 0;
    while (at < text.size()) {
        if (text.compare(at, 3, "$${") == 0) {
            out += "${";
            at += 3;
            continue;
        }
        if (text.compare(at, 2, "${") != 0) {
            out += text[at++];
            continue;
        }
        const std::size_t close = text.find('}', at);
        if (close == std::string::npos) {
            error(key, "`${` without `}`");
            return std::nullopt;
        }
        const std::string name = text.substr(at + 2, close - at - 2);
        at = close + 1;
        if (name.compare(0, 5, "file:") == 0) {
            const auto content = file_text(name.substr(5));
            if (!content) {
                error(key, "cannot read " + name.substr(5));
                return std::nullopt;
            }
            out += *content;
        } else {
            const auto variable = report_->environment().find(name);
            if (variable == report_->environment().end()) {
                error(key, "environment variable " + name + " is not set");
                return std::nullopt;
            }
            out += variable->second;
        }
    }
    return out;
}

std::optional<std::string> Section::secret(std::string_view key, const char* variable) {
    const auto given = text(key);
    if (variable != nullptr) {
        const auto set = report_->environment().find(variable);
        if (set != report_->environment().end() && !set->second.empty()) return set->second;
    }
    if (!given) return std::nullopt;
    return report_->resolves_references() ? expanded(key, *given) : given;
}

std::optional<std::string> Section::url(std::string_view key, const char* variable) {
    return secret(key, variable);
}

std::optional<std::string> Section::web_url(std::string_view key, const char* variable) {
    auto given = url(key, variable);
    if (!given || given->empty()) return std::nullopt;
    if (!parse_web_url(*given)) {
        // A user part could be a password; the value is shown only where none can be.
        const bool showable = given->find('@') == std::string::npos;
        error(key, "must be http or https" +
                       (showable ? " (got \"" + given->substr(0, kMostShownBytes) + "\")" : std::string()));
        return std::nullopt;
    }
    while (given->back() == '/') given->pop_back();
    return given;
}

void Section::required(std::string_view key) {
    error(key, "is required");
}
void Section::error(std::string_view key, std::string reason) {
    report_->error(path_of(key), std::move(reason));
}
void Section::warning(std::string_view key, std::string reason) {
    report_->warning(path_of(key), std::move(reason));
}

void Section::renamed(std::string_view old_key, std::string_view now) {
    asked_.emplace(old_key);
    if (!has(old_key)) return;
    warning(old_key, "is `" + std::string(now) + "` here" + (has(now) ? "; it has no effect beside it" : ""));
    if (!has(now)) entries_.push_back({std::string(now), find(old_key)->node});
}

void Section::no_effect(std::initializer_list<std::string_view> keys) {
    for (std::string_view key : keys) {
        asked_.emplace(key);
        if (has(key)) warning(key, "has no effect");
    }
}

void Section::finish() {
    const std::vector<std::string> known(asked_.begin(), asked_.end());
    for (const Entry& entry : entries_) {
        if (asked_.count(entry.key) > 0) continue;
        const auto meant = nearest(entry.key, known);
        warning(entry.key, "unknown key" + (meant ? "; did you mean `" + *meant + "`?" : std::string()));
    }
}

}  // namespace lumen::admind

// A typed reader over one section of lumen.yaml: every question names the key, its default and its kind; whatever is
// wrong becomes a finding with its path, and what nobody asked for is an unknown key.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "admind/settings/settings.h"

namespace lumen::admind {

class SettingsReport {
 public:
    /// `literal`: what comes over REST; `${…}` in it is text, or an administrator could read this host's files.
    enum class References : std::uint8_t { resolved, literal };
    explicit SettingsReport(const Environment& environment, References references = References::resolved)
        : environment_(environment), references_(references) {}
    void error(std::string path, std::string reason);
    void warning(std::string path, std::string reason);
    const Environment& environment() const noexcept { return environment_; }
    bool resolves_references() const noexcept { return references_ == References::resolved; }
    bool failed() const noexcept { return failed_; }
    std::vector<Finding> take() { return std::move(findings_); }

 private:
    void add(Finding finding);

    const Environment& environment_;
    const References references_;
    std::vector<Finding> findings_;
    bool failed_ = false;
};

/// Which amounts a key takes.
enum class AmountKind : std::uint8_t { not_negative, max };

class Section {
 public:
    /// A node that is neither a map nor empty is an error; the section is then empty.
    Section(SettingsReport& report, const YAML::Node& node, std::string path);

    const std::string& path() const noexcept { return path_; }
    std::string path_of(std::string_view key) const;
    bool has(std::string_view key) const;  ///< present and not null; does not count as asked for
    bool empty() const noexcept { return entries_.empty(); }
    std::vector<std::string> keys() const;

    Section section(std::string_view key);
    /// The items of a list, each with its path; empty when absent or not a list (an error then).
    struct Item {
        YAML::Node node;
        std::string path;
    };
    std::vector<Item> list(std::string_view key);
    std::vector<std::string> texts(std::string_view key);

    std::optional<std::string> text(std::string_view key);
    std::string text(std::string_view key, std::string_view fallback);
    std::string word(std::string_view key, std::string_view fallback, const std::vector<std::string>& allowed);
    std::optional<bool> boolean(std::string_view key);
    bool boolean(std::string_view key, bool fallback);
    std::optional<std::int64_t> integer(std::string_view key, std::int64_t least, std::int64_t most);
    /// With `kind` max, -2 is given back as NanoCoins(-2).
    std::optional<NanoCoins> amount(std::string_view key, AmountKind kind);
    std::optional<AccessRule> access(std::string_view key);
    std::vector<Rate> rates(std::string_view key, std::string_view fallback);
    std::optional<std::int64_t> utc_time_ms(std::string_view key);
    std::optional<std::string> email(std::string_view key);

    /// Secrets and URLs: `${NAME}`, `${file:/path}` and `$${` are resolved, and `variable` (if set) wins over the file.
    std::optional<std::string> secret(std::string_view key, const char* variable = nullptr);
    std::optional<std::string> url(std::string_view key, const char* variable = nullptr);
    /// As url(), and it must be http or https; a final slash is dropped.
    std::optional<std::string> web_url(std::string_view key, const char* variable = nullptr);

    YAML::Node raw(std::string_view key);  ///< undefined when absent

    void required(std::string_view key);
    void error(std::string_view key, std::string reason);
    void warning(std::string_view key, std::string reason);
    /// A key of NCSA's file that has another name here: warns, and gives its value to `now` unless that is there.
    void renamed(std::string_view old_key, std::string_view now);
    /// Keys of NCSA's file that mean nothing here: reported.
    void no_effect(std::initializer_list<std::string_view> keys);
    /// Reports whatever was not asked for, with the nearest key that was.
    void finish();

 private:
    struct Entry {
        std::string key;
        YAML::Node node;
    };
    const Entry* find(std::string_view key) const;
    std::optional<std::string> scalar(std::string_view key, std::string_view expected);
    std::optional<std::string> expanded(std::string_view key, const std::string& text);

    SettingsReport* report_;
    std::string path_;
    std::vector<Entry> entries_;
    std::set<std::string, std::less<>> asked_;
};

/// The text of a list item, or nullopt with an error.
std::optional<std::string> item_text(SettingsReport& report, const Section::Item& item);

}  // namespace lumen::admind

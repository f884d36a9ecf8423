// Text as parts of URLs and forms.
#pragma once

#include <string>
#include <string_view>

namespace lumen::admind {

/// Everything but letters, digits and `-_.~` as %XX (RFC 3986); `also_plain` stays as well.
std::string url_escaped(std::string_view text, std::string_view also_plain = {});

/// name=value&…, for a query or a form.
class FormText {
 public:
    void add(std::string_view name, std::string_view value);
    const std::string& text() const noexcept { return text_; }

 private:
    std::string text_;
};

/// A path of this site and nothing that a browser could read as another host.
bool is_local_path(std::string_view path);

}  // namespace lumen::admind

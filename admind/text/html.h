// Text and HTML are different types: only the writer here makes HTML, and it escapes whatever is not a tag of its own
// (B24).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lumen::admind {

/// HTML that is safe to show: made of a fixed set of elements, without styles, scripts or anything that fetches.
class Html {
 public:
    Html() = default;
    const std::string& text() const noexcept { return text_; }

 private:
    friend class HtmlWriter;
    explicit Html(std::string text) : text_(std::move(text)) {}
    std::string text_;
};

class HtmlWriter {
 public:
    /// Names of elements are literals of the program, never data.
    template <std::size_t N>
    void open(const char (&element)[N]) {
        out_ += '<';
        out_ += element;
        out_ += '>';
    }
    template <std::size_t N>
    void close(const char (&element)[N]) {
        out_ += "</";
        out_ += element;
        out_ += '>';
    }
    void text(std::string_view data);
    /// `url` as linkable_url() gave it.
    void open_link(std::string_view url);
    std::size_t size() const noexcept { return out_.size(); }
    Html take() { return Html(std::move(out_)); }

 private:
    std::string out_;
};

/// The URL if a page may link to it: http, https or mailto, without control characters or spaces.
std::optional<std::string> linkable_url(std::string_view url);

}  // namespace lumen::admind

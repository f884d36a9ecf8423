#include "admind/text/markdown.h"

#include <md4c.h>

#include <cstdint>
#include <vector>

namespace lumen::admind {

namespace {

// Escaping may lengthen; beyond this something is wrong with the text.
constexpr std::size_t kMaxHtmlBytes = 8 * kMaxMarkdownBytes;

/// What md4c tells, turned into elements. md4c nests properly, so each enter has its leave.
class Renderer {
 public:
    int enter_block(MD_BLOCKTYPE type, void* detail) {
        switch (type) {
            case MD_BLOCK_QUOTE:
                html_.open("blockquote");
                break;
            case MD_BLOCK_UL:
                html_.open("ul");
                break;
            case MD_BLOCK_OL:
                html_.open("ol");
                break;
            case MD_BLOCK_LI:
                html_.open("li");
                break;
            case MD_BLOCK_HR:
                html_.open("hr");
                break;
            case MD_BLOCK_H:
                heading(static_cast<const MD_BLOCK_H_DETAIL*>(detail)->level, true);
                break;
            case MD_BLOCK_CODE:
                html_.open("pre");
                html_.open("code");
                break;
            case MD_BLOCK_P:
                html_.open("p");
                break;
            case MD_BLOCK_TABLE:
                html_.open("table");
                break;
            case MD_BLOCK_THEAD:
                html_.open("thead");
                break;
            case MD_BLOCK_TBODY:
                html_.open("tbody");
                break;
            case MD_BLOCK_TR:
                html_.open("tr");
                break;
            case MD_BLOCK_TH:
                html_.open("th");
                break;
            case MD_BLOCK_TD:
                html_.open("td");
                break;
            case MD_BLOCK_DOC:
            case MD_BLOCK_HTML:
                break;
        }
        return full();
    }

    int leave_block(MD_BLOCKTYPE type, void* detail) {
        switch (type) {
            case MD_BLOCK_QUOTE:
                html_.close("blockquote");
                break;
            case MD_BLOCK_UL:
                html_.close("ul");
                break;
            case MD_BLOCK_OL:
                html_.close("ol");
                break;
            case MD_BLOCK_LI:
                html_.close("li");
                break;
            case MD_BLOCK_H:
                heading(static_cast<const MD_BLOCK_H_DETAIL*>(detail)->level, false);
                break;
            case MD_BLOCK_CODE:
                html_.close("code");
                html_.close("pre");
                break;
            case MD_BLOCK_P:
                html_.close("p");
                break;
            case MD_BLOCK_TABLE:
                html_.close("table");
                break;
            case MD_BLOCK_THEAD:
                html_.close("thead");
                break;
            case MD_BLOCK_TBODY:
                html_.close("tbody");
                break;
            case MD_BLOCK_TR:
                html_.close("tr");
                break;
            case MD_BLOCK_TH:
                html_.close("th");
                break;
            case MD_BLOCK_TD:
                html_.close("td");
                break;
            case MD_BLOCK_HR:
            case MD_BLOCK_DOC:
            case MD_BLOCK_HTML:
                break;
        }
        return full();
    }

    int enter_span(MD_SPANTYPE type, void* detail) {
        switch (type) {
            case MD_SPAN_EM:
            case MD_SPAN_U:
                html_.open("em");
                break;
            case MD_SPAN_STRONG:
                html_.open("strong");
                break;
            case MD_SPAN_DEL:
                html_.open("del");
                break;
            case MD_SPAN_CODE:
                html_.open("code");
                break;
            case MD_SPAN_A:
                enter_link(static_cast<const MD_SPAN_A_DETAIL*>(detail)->href);
                break;
            case MD_SPAN_IMG:
                enter_link(static_cast<const MD_SPAN_IMG_DETAIL*>(detail)->src);
                html_.text("[picture: ");
                break;
            default:
                break;
        }
        return full();
    }

    int leave_span(MD_SPANTYPE type) {
        switch (type) {
            case MD_SPAN_EM:
            case MD_SPAN_U:
                html_.close("em");
                break;
            case MD_SPAN_STRONG:
                html_.close("strong");
                break;
            case MD_SPAN_DEL:
                html_.close("del");
                break;
            case MD_SPAN_CODE:
                html_.close("code");
                break;
            case MD_SPAN_A:
                leave_link();
                break;
            case MD_SPAN_IMG:
                html_.text("]");
                leave_link();
                break;
            default:
                break;
        }
        return full();
    }

    int text(MD_TEXTTYPE type, std::string_view data) {
        switch (type) {
            case MD_TEXT_HTML:
                break;
            case MD_TEXT_BR:
                html_.open("br");
                break;
            case MD_TEXT_SOFTBR:
                html_.text("\n");
                break;
            case MD_TEXT_NULLCHAR:
                html_.text(std::string_view("\0", 1));
                break;
            case MD_TEXT_ENTITY:
                entity(data);
                break;
            default:
                html_.text(data);
        }
        return full();
    }

    Html take() { return html_.take(); }

 private:
    int full() const noexcept { return html_.size() > kMaxHtmlBytes ? 1 : 0; }

    void heading(unsigned level, bool begins) {
        const auto element = [&](const auto& name) { begins ? html_.open(name) : html_.close(name); };
        if (level == 1) return element("h1");
        if (level == 2) return element("h2");
        if (level == 3) return element("h3");
        if (level == 4) return element("h4");
        element(level == 5 ? "h5" : "h6");
    }

    /// A link inside a link (a picture that is one) would not be HTML: only the outer one is made.
    void enter_link(const MD_ATTRIBUTE& target) {
        const bool inside = !links_.empty() && links_.back() != Made::no;
        const auto url = inside ? std::nullopt : linkable_url({target.text, target.size});
        if (url) html_.open_link(*url);
        links_.push_back(url ? Made::here : inside ? Made::outside : Made::no);
    }
    void leave_link() {
        if (links_.back() == Made::here) html_.close("a");
        links_.pop_back();
    }

    /// The few that matter as the characters they are; others as they were written.
    void entity(std::string_view name) {
        if (name == "&amp;") return html_.text("&");
        if (name == "&lt;") return html_.text("<");
        if (name == "&gt;") return html_.text(">");
        if (name == "&quot;") return html_.text("\"");
        if (name == "&nbsp;") return html_.text(" ");
        html_.text(name);
    }

    enum class Made : std::uint8_t { no, here, outside };
    HtmlWriter html_;
    std::vector<Made> links_;
};

Renderer& renderer(void* data) {
    return *static_cast<Renderer*>(data);
}

}  // namespace

Html render_markdown(std::string_view markdown) {
    markdown = markdown.substr(0, kMaxMarkdownBytes);
    Renderer target;
    MD_PARSER parser{};
    parser.flags = MD_FLAG_TABLES | MD_FLAG_STRIKETHROUGH | MD_FLAG_PERMISSIVEURLAUTOLINKS;
    parser.enter_block = [](MD_BLOCKTYPE type, void* detail, void* data) {
        return renderer(data).enter_block(type, detail);
    };
    parser.leave_block = [](MD_BLOCKTYPE type, void* detail, void* data) {
        return renderer(data).leave_block(type, detail);
    };
    parser.enter_span = [](MD_SPANTYPE type, void* detail, void* data) {
        return renderer(data).enter_span(type, detail);
    };
    parser.leave_span = [](MD_SPANTYPE type, void*, void* data) { return renderer(data).leave_span(type); };
    parser.text = [](MD_TEXTTYPE type, const MD_CHAR* text, MD_SIZE size, void* data) {
        return renderer(data).text(type, {text, size});
    };
    if (md_parse(markdown.data(), static_cast<MD_SIZE>(markdown.size()), &parser, &target) != 0) return {};
    return target.take();
}

std::string_view without_front_matter(std::string_view markdown) noexcept {
    constexpr std::string_view kFence = "---\n";
    if (markdown.substr(0, kFence.size()) != kFence) return markdown;
    const std::size_t end = markdown.find("\n---", kFence.size() - 1);
    if (end == std::string_view::npos) return markdown;
    const std::size_t line = markdown.find('\n', end + 1);
    return line == std::string_view::npos ? std::string_view() : markdown.substr(line + 1);
}

}  // namespace lumen::admind

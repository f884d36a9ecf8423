// Markdown of operators and of other sites (notices, READMEs) as HTML. There is one policy for all of it: what Markdown
// can say is shown, raw HTML is left out, pictures become links, links go to http, https and mailto only (D2, B17,
// B25).
#pragma once

#include <string_view>

#include "admind/text/html.h"

namespace lumen::admind {

inline constexpr std::size_t kMaxMarkdownBytes = std::size_t{512} * 1024;  ///< the rest is left out

Html render_markdown(std::string_view markdown);

/// A README without the YAML that model cards begin with.
std::string_view without_front_matter(std::string_view markdown) noexcept;

}  // namespace lumen::admind

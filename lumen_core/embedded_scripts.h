// The texts of the ledger scripts, as scripts/embed.sh wrote them into the build; read through script_text().
#pragma once

#include <cstddef>
#include <string_view>

namespace lumen {

struct EmbeddedScript {
    std::string_view name;  ///< file name without .lua
    std::string_view text;  ///< starts with `#!lua`
};

extern const EmbeddedScript kEmbeddedScripts[];
extern const std::size_t kEmbeddedScriptCount;

}  // namespace lumen

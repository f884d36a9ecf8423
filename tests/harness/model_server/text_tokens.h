// The demo model's tokens: a run of letters, digits or non-ASCII bytes is one token, and so is every other visible
// character. Anybody can recount an answer with a pencil, which is what makes its usage honest.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lumen::model_server {

std::size_t count_tokens(std::string_view text) noexcept;

/// Pieces of `text`, one token each with the white space before it; joined they are `text` again (white space at the
/// end is dropped).
std::vector<std::string> split_tokens(std::string_view text);

/// Exactly `count` tokens of prose, always the same.
std::string prose(std::size_t count);

}  // namespace lumen::model_server

// What the demo model says to a prompt, before a dialect puts it into its own words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/harness/model_server/behaviour.h"

namespace lumen::model_server {

struct Generation {
    std::string id;     ///< unique in this process
    std::string model;  ///< as the request named it
    std::int64_t created = 0;
    std::size_t prompt_tokens = 0;
    std::size_t cached_tokens = 0;       ///< inside prompt_tokens
    std::size_t cache_write_tokens = 0;  ///< likewise, apart from those
    std::size_t reasoning_tokens = 0;    ///< inside the output, so never more than it
    std::vector<std::string> pieces;     ///< one token each; joined they are the answer
    bool truncated = false;              ///< by the request's limit on output
    bool include_usage = false;
    bool usage_in_every_chunk = false;
    std::optional<std::size_t> cut_after;

    std::string text() const;
};

/// `prompt_tokens`: of all the model reads. `question`: the part that is answered. `max_tokens`: absent = no limit.
Generation generate(const nlohmann::json& request, std::size_t prompt_tokens, const std::string& question,
                    std::optional<std::size_t> max_tokens, const Behaviour& behaviour);

/// Tokens in a `content`, `input`, `prompt`…: text, a list of them, parts with a `text`, or token numbers.
std::size_t count_content_tokens(const nlohmann::json& content);
/// The text of a `content`; parts that are not text are left out.
std::string content_text(const nlohmann::json& content);
/// The first of these members that is a whole number ≥ 0.
std::optional<std::size_t> whole_number(const nlohmann::json& object, std::initializer_list<const char*> names);

}  // namespace lumen::model_server

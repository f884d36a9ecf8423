#include "tests/harness/model_server/generation.h"

#include <algorithm>
#include <ctime>
#include <numeric>

#include "tests/harness/model_server/text_tokens.h"

namespace lumen::model_server {
namespace {

using nlohmann::json;

constexpr std::size_t kQuotedTokens = 40;

std::string answer_text(const std::string& question, const Behaviour& behaviour) {
    if (behaviour.huge) return std::string(kHugeBytes, 'x');
    if (behaviour.tokens) return prose(*behaviour.tokens);
    std::vector<std::string> heard = split_tokens(question);
    const bool shortened = heard.size() > kQuotedTokens;
    if (shortened) heard.resize(kQuotedTokens);
    return "Hello from Lumen's demo model. I heard: \"" + std::accumulate(heard.begin(), heard.end(), std::string()) +
           (shortened ? " ..." : "") + "\" Each word and each mark I say is one token.";
}

}  // namespace

std::string Generation::text() const {
    return std::accumulate(pieces.begin(), pieces.end(), std::string());
}

Generation generate(const json& request, std::size_t prompt_tokens, const std::string& question,
                    std::optional<std::size_t> max_tokens, const Behaviour& behaviour) {
    static std::uint64_t generations = 0;
    Generation generation;
    generation.id = std::to_string(++generations);
    generation.model = request.value("model", "");
    generation.created = std::time(nullptr);
    generation.prompt_tokens = prompt_tokens;
    generation.cached_tokens = std::min(behaviour.cached_tokens, prompt_tokens);
    generation.cache_write_tokens = std::min(behaviour.cache_write_tokens, prompt_tokens - generation.cached_tokens);
    generation.pieces = split_tokens(answer_text(question, behaviour));
    if (max_tokens && *max_tokens < generation.pieces.size()) {
        generation.pieces.resize(*max_tokens);
        generation.truncated = true;
    }
    generation.reasoning_tokens = std::min(behaviour.reasoning_tokens, generation.pieces.size());
    if (const auto options = request.find("stream_options"); options != request.end() && options->is_object()) {
        generation.include_usage = options->value("include_usage", false);
        generation.usage_in_every_chunk = options->value("continuous_usage_stats", false);
    }
    if (behaviour.usage == UsageReport::never)
        generation.include_usage = generation.usage_in_every_chunk = false;
    else if (behaviour.usage == UsageReport::every_chunk)
        generation.include_usage = generation.usage_in_every_chunk = true;
    if (behaviour.cut_after && *behaviour.cut_after < generation.pieces.size())
        generation.cut_after = behaviour.cut_after;
    return generation;
}

std::size_t count_content_tokens(const json& content) {
    if (content.is_string()) return count_tokens(content.get_ref<const std::string&>());
    if (content.is_number()) return 1;
    if (content.is_array())
        return std::accumulate(content.begin(), content.end(), std::size_t{0},
                               [](std::size_t sum, const json& part) { return sum + count_content_tokens(part); });
    if (content.is_object()) {
        if (const auto text = content.find("text"); text != content.end()) return count_content_tokens(*text);
        if (const auto inner = content.find("content"); inner != content.end()) return count_content_tokens(*inner);
    }
    return 0;
}

std::string content_text(const json& content) {
    if (content.is_string()) return content.get<std::string>();
    std::string text;
    if (content.is_array())
        for (const json& part : content) text += content_text(part);
    else if (content.is_object() && content.contains("text"))
        text = content_text(content["text"]);
    return text;
}

std::optional<std::size_t> whole_number(const json& object, std::initializer_list<const char*> names) {
    for (const char* name : names)
        if (const auto value = object.find(name); value != object.end() && value->is_number_unsigned())
            return value->get<std::size_t>();
    return std::nullopt;
}

}  // namespace lumen::model_server

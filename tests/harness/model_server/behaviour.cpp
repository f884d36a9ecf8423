#include "tests/harness/model_server/behaviour.h"

#include <algorithm>
#include <charconv>

namespace lumen::model_server {
namespace {

bool starts_with(std::string_view text, std::string_view prefix) noexcept {
    return text.substr(0, prefix.size()) == prefix;
}

template <typename Number>
std::optional<Number> parse_whole(std::string_view digits) noexcept {
    Number number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return number;
}

/// `word` is `prefix` followed by a number.
template <typename Number>
std::optional<Number> number_after(std::string_view word, std::string_view prefix) noexcept {
    if (!starts_with(word, prefix)) return std::nullopt;
    return parse_whole<Number>(word.substr(prefix.size()));
}

bool apply_status(std::string_view word, Behaviour& behaviour) noexcept {
    const auto status = parse_whole<int>(word.substr(0, 3));
    if (!status || *status < 400 || *status > 599) return false;
    if (word.size() > 3) {
        const auto seconds = number_after<std::uint32_t>(word.substr(3), "-retry-");
        if (!seconds) return false;
        behaviour.retry_after_s = *seconds;
    }
    behaviour.status = *status;
    return true;
}

bool apply_word(std::string_view word, Behaviour& behaviour) noexcept {
    if (const auto ms = number_after<std::uint32_t>(word, "slow-")) {
        behaviour.delay_ms = *ms;
    } else if (const auto pace = number_after<std::uint32_t>(word, "pace-")) {
        behaviour.pace_ms = *pace;
    } else if (const auto tokens = number_after<std::size_t>(word, "tokens-")) {
        behaviour.tokens = std::min(*tokens, kMaxAnswerTokens);
    } else if (const auto after = number_after<std::size_t>(word, "cut-")) {
        behaviour.cut_after = *after;
    } else if (const auto cached = number_after<std::size_t>(word, "cached-")) {
        behaviour.cached_tokens = *cached;
    } else if (const auto written = number_after<std::size_t>(word, "cache-write-")) {
        behaviour.cache_write_tokens = *written;
    } else if (const auto reasoning = number_after<std::size_t>(word, "reasoning-")) {
        behaviour.reasoning_tokens = *reasoning;
    } else if (word == "usage-in-tokens") {
        behaviour.usage_in_tokens = true;
    } else if (word == "no-usage") {
        behaviour.usage = UsageReport::never;
    } else if (word == "usage-every-chunk") {
        behaviour.usage = UsageReport::every_chunk;
    } else if (word == "integer-code") {
        behaviour.integer_code = true;
        if (behaviour.status == 200) behaviour.status = 400;
    } else if (word == "huge") {
        behaviour.huge = true;
    } else if (word == "garbage") {
        behaviour.garbage = true;
    } else if (word == "hang") {
        behaviour.hang = true;
    } else if (word == "held") {
        behaviour.held = true;
    } else if (const auto events = number_after<std::size_t>(word, "held-")) {
        behaviour.held_after = *events;
    } else if (word == "refuse") {
        behaviour.refuse = true;
    } else {
        return apply_status(word, behaviour);
    }
    return true;
}

}  // namespace

bool apply_behaviour(std::string_view words, Behaviour& behaviour) {
    Behaviour changed = behaviour;
    while (true) {
        const std::size_t plus = words.find('+');
        if (!apply_word(words.substr(0, plus), changed)) return false;
        if (plus == std::string_view::npos) break;
        words.remove_prefix(plus + 1);
    }
    behaviour = changed;
    return true;
}

}  // namespace lumen::model_server

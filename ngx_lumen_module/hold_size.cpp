#include "ngx_lumen_module/hold_size.h"

#include <algorithm>

#include "ngx_lumen_module/settle.h"

namespace lumen {
namespace {

/// Output that a hold covers beyond what has come: some seconds of a fast model, so that renewals stay rare.
constexpr std::uint64_t kWindowTokens = 2048;
/// Output of a strict request that names no maximum, of a model that has none either.
constexpr std::uint64_t kDefaultMaxOutputTokens = 16'384;

/// Most output tokens of one choice.
std::uint64_t most_output_tokens(const Request& request) noexcept {
    if (request.facts.max_output_tokens) return *request.facts.max_output_tokens;
    if (request.model->max_output_tokens > 0) return request.model->max_output_tokens;
    if (request.model->context_window > 0) return request.model->context_window;
    return kDefaultMaxOutputTokens;
}

/// A hold for `output_tokens` that have come and a window of more. Strict requests whose answer comes in one piece have
/// no chance to renew in between, so their window is all of it.
Usage usage_to_hold(const Request& request, std::uint64_t output_tokens) noexcept {
    const RequestFacts& facts = request.facts;
    const bool paints = request.operation == Operation::images_generations;
    Usage usage;
    usage.input_tokens = request.strict
                             ? upper_bound_input_tokens(request.operation, facts, request.model->context_window)
                             : estimated_input_tokens(request.operation, facts);
    // A cache that is written to may be dearer than plain input: strict holds the worst.
    const Price& price = request.price->price;
    const bool dear_cache = price.cache_write_per_million > price.input_per_million;
    if (request.strict && dear_cache) usage.cache_write_tokens = usage.input_tokens;
    usage.characters = facts.characters;
    if (reads_audio(request.operation)) {
        usage.audio_ms = request.strict ? upper_bound_audio_ms(facts) : estimated_audio_ms(facts);
    }
    if (paints) usage.images = facts.choices;
    if (!paints && !traits_of(request.operation).generates_text) return usage;
    const std::uint64_t choices = std::max<std::uint32_t>(facts.choices, 1);
    // A maximum may be anything a client can write; beyond 2^40 tokens cost() saturates anyway.
    const std::uint64_t most = std::min<std::uint64_t>(most_output_tokens(request), std::uint64_t{1} << 40) * choices;
    const bool in_one_piece = request.strict && (paints || !facts.stream);
    usage.output_tokens = in_one_piece ? most : std::min(most, output_tokens + kWindowTokens * choices);
    // Reasoning is inside output and may be dearer: the worse of the two is held.
    if (price.reasoning_per_million > price.output_per_million) {
        usage.reasoning_tokens = usage.output_tokens;
    }
    return usage;
}

}  // namespace

NanoCoins hold_for(const Request& request) noexcept {
    return cost(request.price->price, usage_to_hold(request, 0), true);
}

NanoCoins hold_from_here(const Request& request) noexcept {
    return cost(request.price->price, usage_to_hold(request, request.metering.usage.output_tokens), true);
}

NanoCoins expected_input_cost(const Request& request) noexcept {
    Usage usage = usage_to_hold(request, 0);
    usage.output_tokens = 0;
    usage.reasoning_tokens = 0;
    return cost(request.price->price, usage, false);
}

}  // namespace lumen

// The estimates of request_facts.h: how much a model will read, before it has read it.
#include <algorithm>

#include "lumen_core/request_facts.h"

namespace lumen {

std::uint64_t estimated_input_tokens(Operation operation, const RequestFacts& facts) noexcept {
    constexpr std::uint64_t kMsPerToken = 100;
    if (reads_audio(operation)) return estimated_audio_ms(facts) / kMsPerToken + 1;
    return std::max<std::uint64_t>((estimated_text_bytes(facts) + 2) / 3, 1);
}

std::uint64_t estimated_text_bytes(const RequestFacts& facts) noexcept {
    constexpr std::uint64_t kBytesOfMedium = 4'000;
    return facts.input_bytes - facts.media_bytes + facts.media * kBytesOfMedium;
}

std::uint64_t upper_bound_input_tokens(Operation operation, const RequestFacts& facts,
                                       std::uint64_t context_window) noexcept {
    constexpr std::uint64_t kLeastMsPerToken = 10;
    if (reads_audio(operation)) return upper_bound_audio_ms(facts) / kLeastMsPerToken + kTemplateTokens;
    // No product of these can overflow: bodies have at most 16 MiB, so 2^24 elements of as many bytes.
    const std::uint64_t most = facts.input_bytes + kTemplateTokens + facts.reference_tokens +
                               facts.pairs * (facts.repeated_bytes + kPairTokens);
    const bool bounded = context_window > 0 && traits_of(operation).generates_text;
    return bounded ? std::min(most, context_window * std::max(facts.choices, 1U)) : most;
}

std::uint64_t estimated_audio_ms(const RequestFacts& facts) noexcept {
    constexpr std::uint64_t kBytesPerMs = 8;
    return facts.audio_ms.value_or((facts.audio_bytes + kBytesPerMs - 1) / kBytesPerMs);
}

std::uint64_t upper_bound_audio_ms(const RequestFacts& facts) noexcept {
    constexpr std::uint64_t kMsPerByte = 2;
    return facts.audio_ms.value_or(facts.audio_bytes * kMsPerByte);
}

}  // namespace lumen

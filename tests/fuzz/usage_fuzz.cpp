// Usage is read from any bytes within its bounds, and the same from an answer as from its usage object alone.
#include "lumen_core/usage.h"

#include "lumen_core/request_facts.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace lumen;

void require_in_bounds(const Usage& usage) {
    for (const std::uint64_t count : {usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens,
                                      usage.output_tokens, usage.reasoning_tokens}) {
        fuzz::require(count <= kMaxUsageCount, "no count is larger than the largest");
    }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = fuzz::text_of(data, size);
    const fuzz::Padded body(text, kJsonPadding);
    for (const Operation operation : {Operation::chat_completions, Operation::responses, Operation::embeddings}) {
        if (const auto usage = usage_of_json_answer(operation, body.text())) require_in_bounds(*usage);
        const auto said = usage_of_object(operation, text);
        if (!said) continue;
        const Usage* const alone = &said->usage;
        require_in_bounds(*alone);

        const fuzz::Padded wrapped("{\"usage\":" + std::string(text) + "}", kJsonPadding);
        const auto inside = usage_of_json_answer(operation, wrapped.text());
        // simdjson is stricter about what lies around the counts, so it may see none; but never others.
        fuzz::require(
            !inside || (inside->input_tokens == alone->input_tokens && inside->output_tokens == alone->output_tokens),
            "an object says the same alone and in its answer");
    }
    return 0;
}

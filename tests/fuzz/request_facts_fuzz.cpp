// A body that is accepted is still accepted after it was rewritten for an endpoint, and then names the endpoint's
// model.
#include "lumen_core/request_facts.h"

#include "tests/fuzz/fuzz.h"

namespace {

using namespace lumen;

std::string spliced(std::string_view body, const std::vector<Splice>& splices) {
    std::string rewritten;
    std::size_t at = 0;
    for (const Splice& splice : splices) {
        fuzz::require(splice.offset >= at && splice.offset + std::size_t{splice.length} <= body.size(),
                      "splices are in order and inside the body");
        rewritten.append(body.substr(at, splice.offset - at)).append(splice.text);
        at = splice.offset + std::size_t{splice.length};
    }
    return rewritten.append(body.substr(at));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const fuzz::Padded body(fuzz::text_of(data, size), kJsonPadding);
    FactsReader reader;
    for (const Operation operation :
         {Operation::chat_completions, Operation::completions, Operation::responses, Operation::embeddings}) {
        const FactsResult result = reader.read(operation, body.text());
        if (!result.facts) {
            fuzz::require(!result.error.message.empty(), "a refusal says why");
            continue;
        }
        fuzz::require(!result.facts->model.empty() && result.facts->model.size() <= 128,
                      "model names have 1 to 128 bytes");
        const bool asks = operation != Operation::responses && result.facts->stream;
        const fuzz::Padded rewritten(
            spliced(body.text(), upstream_splices(*result.facts, body.text(), "their/\"name\"", asks, asks)),
            kJsonPadding);
        const FactsResult again = reader.read(operation, rewritten.text());
        fuzz::require(again.facts.has_value(), "a rewritten body is as good as the original");
        fuzz::require(again.facts->model == "their/\"name\"", "the endpoint reads its own model name");
        fuzz::require(again.facts->stream == result.facts->stream, "rewriting leaves `stream`");
        fuzz::require(again.facts->max_output_tokens == result.facts->max_output_tokens, "rewriting leaves the bounds");
        fuzz::require(!asks || again.facts->wants_usage, "usage of streams is asked for");
    }
    return 0;
}

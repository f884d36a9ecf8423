// An answer is metered the same wherever it is cut.
#include "lumen_core/json_meter.h"

#include "tests/fuzz/fuzz.h"

namespace {

using namespace lumen;

struct Metered {
    bool whole = false;
    std::string usage;
    std::uint64_t text = 0;
    bool operator==(const Metered& other) const {
        return whole == other.whole && usage == other.usage && text == other.text;
    }
};

/// In pieces of 1 to `longest` bytes.
Metered metered(Operation operation, std::string_view answer, std::size_t longest, std::uint32_t seed) {
    JsonMeter meter(operation);
    while (!answer.empty()) {
        seed = seed * 1664525u + 1013904223u;
        const std::string piece(answer.substr(0, 1 + (seed >> 16) % longest));
        answer.remove_prefix(piece.size());
        meter.feed(piece);
    }
    return {meter.whole(), std::string(meter.usage_object()), meter.output_text_bytes()};
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view answer = fuzz::text_of(data, size);
    const auto seed = static_cast<std::uint32_t>(size) * 2654435761u;
    for (const Operation operation : {Operation::chat_completions, Operation::responses, Operation::embeddings}) {
        JsonMeter meter(operation);
        meter.feed(answer);
        const Metered whole{meter.whole(), std::string(meter.usage_object()), meter.output_text_bytes()};
        fuzz::require(metered(operation, answer, 1, seed) == whole, "byte by byte");
        fuzz::require(metered(operation, answer, 40, seed) == whole, "in pieces");
        fuzz::require(whole.usage.size() <= answer.size(), "usage is a part of the answer");
        fuzz::require(whole.text <= answer.size(), "no more text than there is");
        fuzz::require(whole.usage.empty() || (whole.usage.front() == '{' && whole.usage.back() == '}'),
                      "usage is an object");
    }
    return 0;
}

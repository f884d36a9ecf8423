// A form is read the same in whatever slices, and what is read of it lies where it is said to lie.
#include "lumen_core/form_facts.h"
#include "tests/fuzz/fuzz.h"

namespace {

lumen::FactsResult read(std::string_view body, std::size_t slice) {
    lumen::FormReader reader(body, "b");
    while (!reader.read(slice)) {
    }
    return std::move(reader).result();
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    const std::string_view text = fuzz::text_of(data, size);
    const std::string boundary = form_boundary(text);
    fuzz::require(boundary.size() <= 70, "a boundary is short");
    pcm_length_ms(text);

    const FactsResult whole = read(text, size + 1);
    const FactsResult bytes = read(text, 1);
    fuzz::require(whole.facts.has_value() == bytes.facts.has_value(), "slices decide nothing");
    if (!whole.facts) {
        fuzz::require(!whole.error.message.empty(), "a refusal says why");
        fuzz::require(whole.error.message == bytes.error.message, "slices change no words");
        return 0;
    }
    const RequestFacts& facts = *whole.facts;
    fuzz::require(text.substr(facts.model_value.offset, facts.model_value.length) == facts.model,
                  "the model lies where it is said to lie");
    fuzz::require(facts.model == bytes.facts->model && facts.audio_bytes == bytes.facts->audio_bytes,
                  "slices change nothing");
    return 0;
}

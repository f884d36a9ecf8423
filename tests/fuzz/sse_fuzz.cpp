// A stream gives the same wherever it is cut, and is passed unchanged unless usage is hidden.
#include "lumen_core/sse.h"

#include <string>

#include "tests/fuzz/fuzz.h"

namespace {

using namespace lumen;

struct Metered {
    std::string output;
    std::size_t closing_at = StreamOutput::npos;
    bool done = false;
    bool error = false;
    UsageSource source = UsageSource::none;
    std::uint64_t tokens = 0;
    std::uint64_t text = 0;

    bool operator==(const Metered& other) const {
        return output == other.output && closing_at == other.closing_at && done == other.done && error == other.error &&
               source == other.source && tokens == other.tokens && text == other.text;
    }
};

/// The seed says where the stream is cut; 0: nowhere.
Metered metered(Operation operation, bool hide_usage, std::string_view stream, std::uint32_t seed) {
    Metered result;
    StreamMeter meter(operation, hide_usage);
    StreamOutput out;
    const auto take = [&] {
        for (std::size_t i = 0; i < out.pieces.size(); ++i) {
            if (i == out.closing) result.closing_at = result.output.size();
            result.output += out.pieces[i];
        }
    };
    while (!stream.empty()) {
        std::size_t length = stream.size();
        if (seed != 0) {
            seed = seed * 1664525u + 1013904223u;
            length = 1 + (seed >> 24) % 64;
        }
        const std::string part(stream.substr(0, length));
        stream.remove_prefix(part.size());
        meter.feed(part, out);
        take();
    }
    meter.finish(out);
    take();
    result.done = meter.done_seen();
    result.error = meter.error_seen();
    result.source = meter.usage_source();
    result.tokens = meter.usage().input_tokens + meter.usage().output_tokens;
    result.text = meter.output_text_bytes();
    return result;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view stream = fuzz::text_of(data, size);
    std::uint32_t seed = 2166136261u;
    for (const char c : stream) seed = (seed ^ static_cast<unsigned char>(c)) * 16777619u;
    for (const Operation operation : {Operation::chat_completions, Operation::responses, Operation::messages,
                                      Operation::audio_transcriptions, Operation::images_generations}) {
        for (const bool hide_usage : {false, true}) {
            const Metered whole = metered(operation, hide_usage, stream, 0);
            fuzz::require(metered(operation, hide_usage, stream, seed | 1u) == whole, "cuts do not matter");
            if (whole.error) continue;  // an error that gives something away is told in other words
            fuzz::require(whole.output.size() <= stream.size(), "nothing is added");
            if (!hide_usage || !takes_stream_options(operation)) {
                fuzz::require(whole.output == stream, "what is not hidden passes unchanged");
            }
            const Metered again = metered(operation, hide_usage, whole.output, 0);
            fuzz::require(again.output == whole.output, "what was hidden is gone");
        }
    }
    return 0;
}

// What the gate must know of a request body before it may be priced, and how the body is rewritten for an endpoint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/operation.h"

namespace lumen {

/// A longer JSON body is refused (413 by the gate before it gets here).
inline constexpr std::size_t kMaxJsonBodyBytes = std::size_t{16} * 1024 * 1024;
/// Deepest nesting: far beyond any real tool schema, far below what would endanger a stack, ours or a model server's.
inline constexpr int kMaxJsonDepth = 128;
/// Members of the body or of stream_options; all APIs together document some 100.
inline constexpr std::size_t kMaxMembers = 128;
inline constexpr std::size_t kMaxModelNameBytes = 128;
inline constexpr std::uint32_t kMaxChoices = 128;
/// Prompts in one body of /v1/completions, as OpenAI bounds it.
inline constexpr std::uint32_t kMaxPrompts = 2048;
inline constexpr std::uint64_t kMaxOutputTokens = 2'147'483'647;

// What one part of an input may be read as at most, when its bytes are elsewhere or say little about it.
/// An image: the largest that a served model makes of one (Qwen-VL at its largest resolution).
inline constexpr std::uint64_t kMaxImageTokens = 16'384;
/// A file, a video, sound, or an earlier conversation named by its id.
inline constexpr std::uint64_t kMaxReferenceTokens = 131'072;
/// What a chat template adds of its own: roles, system preambles, the frame of tool definitions.
inline constexpr std::uint64_t kTemplateTokens = 1'024;
/// The same for each pair that is scored.
inline constexpr std::uint64_t kPairTokens = 256;

/// A part of the body, in bytes from its start.
struct BodySpan {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
};

struct RequestStreamOptions {
    BodySpan value;  ///< `null`, or the `{` of the object
    bool is_null = false;
    bool is_empty = true;
    std::optional<BodySpan> include_usage;           ///< the value
    std::optional<BodySpan> continuous_usage_stats;  ///< the value
};

/// Facts of a JSON request body. Offsets are bytes from the start of the body, so that it can be rewritten by splices
/// without being copied.
struct RequestFacts {
    // Defined outside: within an incomplete class an std::optional of them cannot be emplaced (CWG 1397; clang).
    using Span = BodySpan;
    using StreamOptions = RequestStreamOptions;

    std::string model;                               ///< unescaped; 1…kMaxModelNameBytes, no control characters
    bool stream = false;                             ///< only of operations that can stream
    bool wants_usage = false;                        ///< the client itself set stream_options.include_usage: true
    std::optional<std::uint64_t> max_output_tokens;  ///< per answer; the larger of what the dialect's names for it say
    std::uint32_t choices = 1;                       ///< answers to be generated: `n` (or best_of if larger) × prompts
    std::uint64_t input_bytes = 0;                   ///< of the body: every token has at least one byte
    std::uint64_t media_bytes = 0;          ///< of them in strings that are no text: images and files in base64
    std::uint64_t media = 0;                ///< images, files, sounds, given whole or by their address
    std::uint64_t reference_tokens = 0;     ///< most that images, files and earlier conversations in it are read as
    std::uint64_t pairs = 0;                ///< of rerank and score: texts that another one is read with
    std::uint64_t repeated_bytes = 0;       ///< of the text that is read with each of them
    std::uint64_t characters = 0;           ///< of the text that is to be spoken
    std::uint64_t audio_bytes = 0;          ///< of the file that is to be transcribed
    std::optional<std::uint64_t> audio_ms;  ///< its length, if it is plain PCM and so says it itself

    Span object_open;  ///< the `{` of a JSON body
    Span model_value;  ///< the JSON string with its quotes; of a form, the field's content
    std::optional<StreamOptions> stream_options;
};

struct BadRequest {
    std::string message;         ///< for the client; names no content of the body but member names
    std::string param;           ///< empty: null
    bool invalid_value = false;  ///< code `invalid_value`, else null
};

/// Exactly one of facts and error is meaningful: `error` when `facts` is empty.
struct FactsResult {
    std::optional<RequestFacts> facts;
    BadRequest error;
};
inline constexpr std::size_t kJsonPadding = 64;

/// Reads facts, one body after the other, in memory that it keeps: a worker owns one, as a fresh one per request would
/// allocate six bytes per byte of body. What a large body needed is given back.
class FactsReader {
 public:
    FactsReader();
    ~FactsReader();
    FactsReader(FactsReader&&) noexcept;
    FactsReader& operator=(FactsReader&&) noexcept;

    /// A refusal or the facts. The whole body is checked: one JSON object, UTF-8, nothing behind it, within the bounds
    /// above. `body` must be followed by kJsonPadding readable bytes (their content does not matter).
    /// Members are refused that a model server might read otherwise than we: duplicates at the top level and in
    /// stream_options, however escaped; names we give a meaning to, written in other case (Go's decoder folds case).
    /// `null` is the same as absent, except for the model.
    FactsResult read(Operation operation, std::string_view body);

 private:
    struct Memory;
    std::unique_ptr<Memory> memory_;
};

/// The same with a reader of its own, for callers that read one body.
FactsResult read_request_facts(Operation operation, std::string_view body);

/// What the model of an OpenAI-compatible form or body must look like.
bool is_model_name(std::string_view name) noexcept;

/// Replace `length` bytes at `offset` of the original body by `text`.
struct Splice {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
    std::string text;
};

/// What must change for this endpoint, in order of offset, none overlapping: its own name for the model, and for
/// streams `stream_options.include_usage`, and `continuous_usage_stats` where the endpoint knows it and the client does
/// not see usage anyway (it asked for the one at the end, not for one in each chunk).
std::vector<Splice> upstream_splices(const RequestFacts& facts, std::string_view body, std::string_view upstream_model,
                                     bool ask_stream_usage, bool ask_continuous_usage);
/// The same for a multipart form, of which only the model's name changes.
std::vector<Splice> form_splices(const RequestFacts& facts, std::string_view upstream_model);

/// What of the input counts as text in estimates: its bytes, an image or file taken for as much as a page.
std::uint64_t estimated_text_bytes(const RequestFacts& facts) noexcept;
/// For the hold and the token rate: one token per 3 bytes of that, at least 1; of sound, ten a second.
std::uint64_t estimated_input_tokens(Operation operation, const RequestFacts& facts) noexcept;
/// What strict mode holds: a token has at least one byte, and what is not in the body as text has bounds of its own. A
/// `context_window` (0: unknown) bounds each prompt of a generating operation.
std::uint64_t upper_bound_input_tokens(Operation operation, const RequestFacts& facts,
                                       std::uint64_t context_window) noexcept;
/// The length of the sound in a request: what it says itself, else by its size at 64 kbit/s, as speech is commonly
/// encoded.
std::uint64_t estimated_audio_ms(const RequestFacts& facts) noexcept;
/// The same, at the 4 kbit/s that no codec of a served model goes below.
std::uint64_t upper_bound_audio_ms(const RequestFacts& facts) noexcept;

}  // namespace lumen

// What the gate must know of a request body before it may be priced, and how the body is rewritten for an endpoint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lumen {

/// The priced endpoints. What is not listed here is 404: there is no way upstream without a price.
enum class Operation : std::uint8_t {
    chat_completions,
    completions,
    responses,
    embeddings,
    rerank,
    score,
    moderations,
};

/// The operation of a path below /v1/ ("chat/completions"), if it is one.
std::optional<Operation> operation_of_path(std::string_view path_below_v1) noexcept;
/// OpenTelemetry GenAI operation name ("chat", "text_completion", "embeddings", …) for metrics.
std::string_view operation_name(Operation operation) noexcept;
/// Streams of these tell their usage only when asked by stream_options.include_usage.
bool takes_stream_options(Operation operation) noexcept;

/// A longer body is refused (413 by the gate before it gets here).
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

    Span object_open;  ///< the `{` of the body
    Span model_value;  ///< the JSON string with its quotes
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

/// Upper bounds in tokens, for the hold. Input: one token per 3 bytes of body, at least 1 (the error of this estimate
/// is bounded by strict mode's true upper bound, one token per byte).
std::uint64_t estimated_input_tokens(const RequestFacts& facts) noexcept;
std::uint64_t upper_bound_input_tokens(const RequestFacts& facts) noexcept;

}  // namespace lumen

// What the gate must know of a request body before it may be priced, and how the body is rewritten for an endpoint.
#pragma once

#include <cstdint>
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

/// Facts of a JSON request body. Offsets are bytes from the start of the body, so that it can be rewritten by splices
/// without being copied.
struct RequestFacts {
    std::string model;                                ///< unescaped; 1…128 bytes
    bool stream = false;
    bool wants_usage = false;                         ///< the client itself set stream_options.include_usage: true
    std::optional<std::uint64_t> max_output_tokens;   ///< max_completion_tokens, max_tokens or max_output_tokens
    std::uint32_t choices = 1;                        ///< `n` (or best_of if larger), 1…128
    std::uint64_t input_bytes = 0;                    ///< of the body: every token has at least one byte

    struct Span {
        std::uint32_t offset = 0;
        std::uint32_t length = 0;
    };
    Span model_value;                                 ///< the JSON string with its quotes
    std::optional<Span> stream_options_value;         ///< the JSON value of stream_options
    Span object_open;                                 ///< the `{` of the body
    bool empty_object = false;
};

struct BadRequest {
    std::string message;  ///< for the client; names no content of the body but member names
    std::string param;    ///< empty: null
    bool invalid_value = false;  ///< code `invalid_value`, else null
};

/// A refusal or the facts. `body` must be followed by kJsonPadding readable bytes (their content does not matter).
/// Duplicate members are refused at the top level and in stream_options: a model server might read the other one.
struct FactsResult {
    std::optional<RequestFacts> facts;
    BadRequest error;
};
inline constexpr std::size_t kJsonPadding = 64;
FactsResult read_request_facts(Operation operation, std::string_view body);

/// Replace `length` bytes at `offset` of the original body by `text`.
struct Splice {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
    std::string text;
};

/// What must change for this endpoint, in order of offset: its own name for the model, and for streams
/// `stream_options.include_usage` (and `continuous_usage_stats` where the endpoint knows it).
std::vector<Splice> upstream_splices(const RequestFacts& facts, std::string_view body, std::string_view upstream_model,
                                     bool ask_stream_usage, bool ask_continuous_usage);

/// Upper bounds in tokens, for the hold. Input: one token per 3 bytes of body, at least 1 (the error of this estimate is
/// bounded by strict mode's true upper bound, one token per byte).
std::uint64_t estimated_input_tokens(const RequestFacts& facts) noexcept;
std::uint64_t upper_bound_input_tokens(const RequestFacts& facts) noexcept;

}  // namespace lumen

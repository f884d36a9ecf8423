// The operations of the API: which path each has, what it speaks and how its answer comes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lumen {

/// What is not listed here is 404: there is no way upstream without a price, but for counting tokens, which is free.
/// The numbers are kept in the shared zone over reloads (metrics): append only.
enum class Operation : std::uint8_t {
    chat_completions,
    completions,
    responses,
    embeddings,
    rerank,
    score,
    moderations,
    messages,
    count_tokens,
    audio_transcriptions,
    audio_translations,
    audio_speech,
    images_generations,
};

/// In which words errors are told, and how a stream ends.
enum class Dialect : std::uint8_t { openai, anthropic };
enum class BodyForm : std::uint8_t { json, multipart };

struct OperationTraits {
    Operation operation;
    std::string_view path;  ///< below /v1/, here and at the endpoint
    std::string_view name;  ///< OpenTelemetry GenAI operation name, for metrics
    BodyForm body;
    bool streams;               ///< takes `stream`, and its events are metered
    bool takes_stream_options;  ///< its streams tell their usage only when asked by stream_options.include_usage
    bool generates_text;        ///< its answer is text, paid by the token
};

const OperationTraits& traits_of(Operation operation) noexcept;
/// The operation of a path below /v1/ ("chat/completions"), if it is one.
std::optional<Operation> operation_of_path(std::string_view path_below_v1) noexcept;
std::string_view operation_name(Operation operation) noexcept;
bool takes_stream_options(Operation operation) noexcept;
/// Proxied without a hold; a valid key is needed all the same.
bool is_free(Operation operation) noexcept;
/// Speech to text: the body is a multipart form with a file, and the answer may be plain text.
bool reads_audio(Operation operation) noexcept;
/// Its input is many texts, which may be read in all combinations.
bool reads_pairs(Operation operation) noexcept;

/// Of any path below /v1/, also of one that does not exist: who asks for it expects these words.
Dialect dialect_of_path(std::string_view path_below_v1) noexcept;

}  // namespace lumen

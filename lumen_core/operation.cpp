#include "lumen_core/operation.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace lumen {
namespace {

// In the order of the enum.                                                       streams options text
constexpr std::array<OperationTraits, 13> kTraits{{
    {Operation::chat_completions, "chat/completions", "chat", BodyForm::json, true, true, true},
    {Operation::completions, "completions", "text_completion", BodyForm::json, true, true, true},
    {Operation::responses, "responses", "responses", BodyForm::json, true, false, true},
    {Operation::embeddings, "embeddings", "embeddings", BodyForm::json, false, false, false},
    {Operation::rerank, "rerank", "rerank", BodyForm::json, false, false, false},
    {Operation::score, "score", "score", BodyForm::json, false, false, false},
    {Operation::moderations, "moderations", "moderations", BodyForm::json, false, false, false},
    {Operation::messages, "messages", "messages", BodyForm::json, true, false, true},
    {Operation::count_tokens, "messages/count_tokens", "count_tokens", BodyForm::json, false, false, false},
    {Operation::audio_transcriptions, "audio/transcriptions", "transcription", BodyForm::multipart, true, false, true},
    {Operation::audio_translations, "audio/translations", "translation", BodyForm::multipart, true, false, true},
    {Operation::audio_speech, "audio/speech", "speech", BodyForm::json, false, false, false},
    {Operation::images_generations, "images/generations", "image_generation", BodyForm::json, true, false, false},
}};

constexpr bool follows_the_enum() {
    for (std::size_t i = 0; i < kTraits.size(); ++i) {
        if (static_cast<std::size_t>(kTraits[i].operation) != i) return false;
    }
    return true;
}
static_assert(follows_the_enum(), "traits_of looks rows up by position");

}  // namespace

const OperationTraits& traits_of(Operation operation) noexcept {
    return kTraits[std::min(static_cast<std::size_t>(operation), kTraits.size() - 1)];
}

std::optional<Operation> operation_of_path(std::string_view path_below_v1) noexcept {
    for (const OperationTraits& traits : kTraits) {
        if (traits.path == path_below_v1) return traits.operation;
    }
    return std::nullopt;
}

std::string_view operation_name(Operation operation) noexcept {
    return traits_of(operation).name;
}

bool takes_stream_options(Operation operation) noexcept {
    return traits_of(operation).takes_stream_options;
}

bool is_free(Operation operation) noexcept {
    return operation == Operation::count_tokens;
}

bool reads_audio(Operation operation) noexcept {
    return operation == Operation::audio_transcriptions || operation == Operation::audio_translations;
}

bool reads_pairs(Operation operation) noexcept {
    return operation == Operation::rerank || operation == Operation::score;
}

Dialect dialect_of_path(std::string_view path_below_v1) noexcept {
    constexpr std::string_view kMessages = "messages";
    const bool below = path_below_v1.substr(0, kMessages.size()) == kMessages &&
                       (path_below_v1.size() == kMessages.size() || path_below_v1[kMessages.size()] == '/');
    return below ? Dialect::anthropic : Dialect::openai;
}

}  // namespace lumen

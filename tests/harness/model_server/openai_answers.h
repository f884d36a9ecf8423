// OpenAI's dialect: chat/completions, completions, responses, embeddings, rerank, score, moderations,
// models and errors.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/harness/model_server/behaviour.h"
#include "tests/harness/model_server/generation.h"
#include "tests/harness/model_server/http_message.h"

namespace lumen::model_server {

enum class Dialect : std::uint8_t { chat, completions, responses };

/// What the model answers to a request in this dialect.
Generation generate_openai(Dialect dialect, const nlohmann::json& request, const Behaviour& behaviour);

std::string openai_body(Dialect dialect, const Generation& generation, const Behaviour& behaviour);
EventSource openai_events(Dialect dialect, Generation generation);

std::string embeddings_body(const nlohmann::json& request, const Behaviour& behaviour);
std::string rerank_body(const nlohmann::json& request, const Behaviour& behaviour);
std::string score_body(const nlohmann::json& request, const Behaviour& behaviour);
std::string moderations_body(const nlohmann::json& request);
std::string models_body(const std::vector<std::string>& names);

/// `integer_code`: flat, with the status as `code`, as vLLM's errors were.
std::string openai_error_body(int status, const std::string& message, bool integer_code);

/// The usage member of chat and completions, after `output_tokens` of the answer.
nlohmann::json chat_usage(const Generation& generation, std::size_t output_tokens);
nlohmann::json responses_object(const Generation& generation, const char* status, bool with_usage);

}  // namespace lumen::model_server

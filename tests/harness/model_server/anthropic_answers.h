// Anthropic's dialect: /v1/messages and below.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/harness/model_server/behaviour.h"
#include "tests/harness/model_server/generation.h"
#include "tests/harness/model_server/http_message.h"

namespace lumen::model_server {

Generation generate_message(const nlohmann::json& request, const Behaviour& behaviour);
std::string message_body(const Generation& generation, const Behaviour& behaviour);
EventSource message_events(Generation generation, const Behaviour& behaviour);
/// /v1/messages/count_tokens
std::string count_tokens_body(const nlohmann::json& request);
std::string anthropic_error_body(int status, const std::string& message);

}  // namespace lumen::model_server

// What is neither chat nor vectors: speech to text, text to speech, pictures.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/harness/model_server/behaviour.h"
#include "tests/harness/model_server/form_data.h"
#include "tests/harness/model_server/http_message.h"

namespace lumen::model_server {

/// The length of a sound in ms: of a WAV file as it says itself; of anything else 8 bytes are taken for one.
std::size_t sound_ms(std::string_view file);

/// audio/transcriptions and translations, in the `response_format` asked for, as a stream if asked.
Answer transcript_answer(const std::vector<FormField>& form, const Behaviour& behaviour);
/// audio/speech: silence, 60 ms of it for each character.
Answer speech_answer(const nlohmann::json& request);
/// images/generations: `n` pictures of one white pixel; as a stream one of them, after `partial_images` unfinished
/// ones.
Answer images_answer(const nlohmann::json& request, const Behaviour& behaviour);

}  // namespace lumen::model_server

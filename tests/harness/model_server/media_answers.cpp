#include "tests/harness/model_server/media_answers.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>

#include "tests/harness/model_server/generation.h"
#include "tests/harness/model_server/text_tokens.h"

namespace lumen::model_server {
namespace {

using nlohmann::json;

constexpr std::size_t kTokensPerSecond = 10;
constexpr std::size_t kImageTokens = 1056;
constexpr const char* kWhitePixel =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAtAl4QwAAAABJRU5ErkJggg==";

std::size_t little_endian(std::string_view bytes) {
    std::size_t value = 0;
    for (std::size_t i = bytes.size(); i > 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
    return value;
}

void append_number(std::string& out, std::size_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

json seconds(std::size_t ms) {
    return static_cast<double>(ms) / 1000;
}

json transcript_usage(std::size_t ms, std::size_t output_tokens, const Behaviour& behaviour) {
    if (!behaviour.usage_in_tokens) return {{"type", "duration"}, {"seconds", seconds(ms)}};
    const std::size_t input = ms * kTokensPerSecond / 1000;
    return {{"type", "tokens"},
            {"input_tokens", input},
            {"input_token_details", {{"text_tokens", 0}, {"audio_tokens", input}}},
            {"output_tokens", output_tokens},
            {"total_tokens", input + output_tokens}};
}

std::string clock_text(std::size_t ms, char point) {
    char text[32];
    std::snprintf(text, sizeof text, "%02zu:%02zu:%02zu%c%03zu", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60,
                  point, ms % 1000);
    return text;
}

EventSource transcript_events(std::vector<std::string> pieces, json done) {
    auto sent = std::make_shared<std::size_t>(0);
    return [pieces = std::move(pieces), done = std::move(done), sent](std::string& out) {
        if (*sent > pieces.size() + 1) return false;
        const std::size_t at = (*sent)++;
        if (at < pieces.size()) {
            out += "data: " + json{{"type", "transcript.text.delta"}, {"delta", pieces[at]}}.dump() + "\n\n";
        } else if (at == pieces.size()) {
            out += "data: " + done.dump() + "\n\n";
        } else {
            out += "data: [DONE]\n\n";
        }
        return true;
    };
}

/// The picture that was asked for, after some on its way; broken off after `cut_after` of them. No [DONE]: OpenAI's
/// have none.
EventSource picture_events(std::string picture, std::size_t unfinished, json usage,
                           std::optional<std::size_t> cut_after) {
    auto sent = std::make_shared<std::size_t>(0);
    return [picture = std::move(picture), unfinished, usage = std::move(usage), cut_after, sent](std::string& out) {
        if (*sent > unfinished || (cut_after && *sent == *cut_after)) return false;
        const std::size_t at = (*sent)++;
        const bool finished = at == unfinished;
        const std::string type = finished ? "image_generation.completed" : "image_generation.partial_image";
        nlohmann::ordered_json event = {{"type", type}, {"b64_json", picture}};
        if (!finished) event["partial_image_index"] = at;
        if (finished && !usage.is_null()) event["usage"] = usage;
        out += "event: " + type + "\ndata: " + event.dump() + "\n\n";
        return true;
    };
}

}  // namespace

std::size_t sound_ms(std::string_view file) {
    if (file.substr(0, 4) != "RIFF" || file.substr(8, 4) != "WAVE" || file.size() < 44) return file.size() / 8;
    const std::size_t bytes_per_second =
        little_endian(file.substr(22, 2)) * little_endian(file.substr(24, 4)) * (little_endian(file.substr(34, 2)) / 8);
    return bytes_per_second == 0 ? 0 : (file.size() - 44) * 1000 / bytes_per_second;
}

Answer transcript_answer(const std::vector<FormField>& form, const Behaviour& behaviour) {
    const std::string_view file = form_value(form, "file");
    const std::string_view format = form_value(form, "response_format");
    const std::size_t ms = sound_ms(file);
    const std::string text =
        behaviour.tokens ? prose(*behaviour.tokens) : "I heard " + std::to_string(ms) + " ms of sound.";
    const std::vector<std::string> pieces = split_tokens(text);
    const json usage = transcript_usage(ms, pieces.size(), behaviour);
    const bool with_usage = behaviour.usage != UsageReport::never;

    Answer answer;
    if (form_value(form, "stream") == "true") {
        json done = {{"type", "transcript.text.done"}, {"text", text}};
        if (with_usage) done["usage"] = usage;
        answer.content_type = "text/event-stream";
        answer.events = transcript_events(pieces, std::move(done));
    } else if (format == "text") {
        answer.content_type = "text/plain; charset=utf-8";
        answer.body = text + "\n";
    } else if (format == "srt") {
        answer.content_type = "text/plain; charset=utf-8";
        answer.body = "1\n00:00:00,000 --> " + clock_text(ms, ',') + "\n" + text + "\n\n";
    } else if (format == "vtt") {
        answer.content_type = "text/vtt; charset=utf-8";
        answer.body = "WEBVTT\n\n00:00:00.000 --> " + clock_text(ms, '.') + "\n" + text + "\n\n";
    } else {
        json body = {{"text", text}};
        if (format == "verbose_json") body.update({{"language", "english"}, {"duration", seconds(ms)}});
        if (with_usage) body["usage"] = usage;
        answer.body = body.dump();
    }
    return answer;
}

Answer speech_answer(const json& request) {
    constexpr std::size_t kRate = 8000;
    constexpr std::size_t kBytesPerCharacter = 480;
    const std::string input = request.at("input").get<std::string>();
    const auto characters = static_cast<std::size_t>(std::count_if(
        input.begin(), input.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
    const std::size_t bytes = characters * kBytesPerCharacter;
    Answer answer;
    answer.content_type = "audio/wav";
    answer.body = "RIFF";
    append_number(answer.body, 36 + bytes, 4);
    answer.body += "WAVEfmt ";
    append_number(answer.body, 16, 4);
    append_number(answer.body, 1, 2);
    append_number(answer.body, 1, 2);
    append_number(answer.body, kRate, 4);
    append_number(answer.body, kRate, 4);
    append_number(answer.body, 1, 2);
    append_number(answer.body, 8, 2);
    answer.body += "data";
    append_number(answer.body, bytes, 4);
    answer.body.append(bytes, '\x80');
    return answer;
}

Answer images_answer(const json& request, const Behaviour& behaviour) {
    const std::size_t count = whole_number(request, {"n"}).value_or(1);
    const std::size_t input = count_content_tokens(request.value("prompt", json()));
    json usage;
    if (behaviour.usage != UsageReport::never) {
        usage = {{"input_tokens", input},
                 {"output_tokens", kImageTokens * count},
                 {"total_tokens", input + kImageTokens * count}};
    }
    Answer answer;
    if (request.value("stream", false)) {
        const std::string picture = behaviour.huge ? std::string(kHugeBytes, 'A') : kWhitePixel;
        const std::size_t unfinished = whole_number(request, {"partial_images"}).value_or(0);
        answer.content_type = "text/event-stream";
        answer.events = picture_events(picture, unfinished, std::move(usage), behaviour.cut_after);
        if (behaviour.cut_after) answer.ending = Ending::cut;
        return answer;
    }
    json data = json::array();
    for (std::size_t i = 0; i < count; ++i) data.push_back({{"b64_json", kWhitePixel}});
    json body = {{"created", 1700000000}, {"data", std::move(data)}};
    if (!usage.is_null()) body["usage"] = std::move(usage);
    answer.body = body.dump();
    return answer;
}

}  // namespace lumen::model_server

#include "tests/harness/model_server/model_api.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "tests/harness/model_server/anthropic_answers.h"
#include "tests/harness/model_server/media_answers.h"
#include "tests/harness/model_server/openai_answers.h"

namespace lumen::model_server {
namespace {

using nlohmann::json;

constexpr std::string_view kMisbehave = "/misbehave/";
constexpr std::string_view kMessages = "/v1/messages";

/// Splits /misbehave/<what>/v1/… into its behaviour and its path; false if <what> is unknown.
bool take_misbehaviour(std::string_view& path, Behaviour& behaviour) {
    if (path.substr(0, kMisbehave.size()) != kMisbehave) return true;
    path.remove_prefix(kMisbehave.size());
    const std::size_t slash = path.find('/');
    if (slash == std::string_view::npos) return false;
    const std::string_view words = path.substr(0, slash);
    path.remove_prefix(slash);
    return apply_behaviour(words, behaviour);
}

Answer error_answer(int status, const std::string& message, const Behaviour& behaviour, std::string_view path) {
    Answer answer;
    answer.status = status;
    answer.body = path.substr(0, kMessages.size()) == kMessages
                      ? anthropic_error_body(status, message)
                      : openai_error_body(status, message, behaviour.integer_code);
    if (behaviour.retry_after_s)
        answer.extra_headers = "Retry-After: " + std::to_string(*behaviour.retry_after_s) + "\r\n";
    return answer;
}

void stream(Answer& answer, EventSource events, bool cut) {
    answer.content_type = "text/event-stream";
    answer.events = std::move(events);
    if (cut) answer.ending = Ending::cut;
}

/// The well-behaved answer of a generating or embedding path; nullopt for any other.
std::optional<Answer> model_answer(std::string_view path, const json& request, const Behaviour& behaviour) {
    const auto asked = request.find("stream");
    const bool streams = asked != request.end() && asked->is_boolean() && asked->get<bool>();
    Answer answer;
    if (path == "/v1/embeddings") {
        answer.body = embeddings_body(request, behaviour);
    } else if (path == "/v1/rerank") {
        answer.body = rerank_body(request, behaviour);
    } else if (path == "/v1/score") {
        answer.body = score_body(request, behaviour);
    } else if (path == "/v1/moderations") {
        answer.body = moderations_body(request);
    } else if (path == "/v1/audio/speech") {
        answer = speech_answer(request);
    } else if (path == "/v1/images/generations") {
        answer = images_answer(request, behaviour);
    } else if (path == "/v1/messages/count_tokens") {
        answer.body = count_tokens_body(request);
    } else if (path == "/v1/messages") {
        Generation message = generate_message(request, behaviour);
        const bool cut = message.cut_after.has_value();
        if (streams)
            stream(answer, message_events(std::move(message), behaviour), cut);
        else
            answer.body = message_body(message, behaviour);
    } else {
        Dialect dialect{};
        if (path == "/v1/chat/completions")
            dialect = Dialect::chat;
        else if (path == "/v1/completions")
            dialect = Dialect::completions;
        else if (path == "/v1/responses")
            dialect = Dialect::responses;
        else
            return std::nullopt;
        Generation generation = generate_openai(dialect, request, behaviour);
        // The responses dialect reports usage unasked.
        if (dialect == Dialect::responses) generation.include_usage = behaviour.usage != UsageReport::never;
        const bool cut = generation.cut_after.has_value();
        if (streams)
            stream(answer, openai_events(dialect, std::move(generation)), cut);
        else
            answer.body = openai_body(dialect, generation, behaviour);
    }
    if (!answer.events && behaviour.cut_after) answer.ending = Ending::cut;
    return answer;
}

/// The well-behaved answer, or an error for a path or a member that is not as it should be.
Answer checked_answer(std::string_view path, const json& request, const Behaviour& behaviour) {
    try {
        if (auto answer = model_answer(path, request, behaviour)) return *std::move(answer);
    } catch (const json::exception& wrong_type) {
        return error_answer(400, wrong_type.what(), behaviour, path);
    }
    return error_answer(404, "no such path", behaviour, path);
}

void misbehave(Answer& answer, const Behaviour& behaviour) {
    answer.delay_ms = behaviour.delay_ms;
    answer.pace_ms = behaviour.pace_ms;
    if (behaviour.garbage) {
        answer.events = nullptr;
        answer.body = "<html><body>\x01 this is neither JSON nor an event</body></html>";
    }
    if (behaviour.refuse)
        answer.ending = Ending::reset;
    else if (behaviour.hang)
        answer.ending = Ending::hang;
}

}  // namespace

Answer ModelApi::handle(const Request& request) {
    std::string_view path = request.target.substr(0, request.target.find('?'));
    control_.record(request, path);

    Behaviour behaviour;
    if (!take_misbehaviour(path, behaviour)) return error_answer(404, "unknown misbehaviour", behaviour, path);

    Answer answer;
    if (path == "/health" || path == "/v1/health") {
        answer.body = "{}";
    } else if (path == "/v1/models") {
        answer.body = models_body(models_);
    } else {
        const bool is_form = path == "/v1/audio/transcriptions" || path == "/v1/audio/translations";
        const auto form = is_form ? parse_form(request.header("content-type"), request.body) : std::nullopt;
        const json body = is_form ? json::object() : json::parse(request.body, nullptr, false);
        if (form) apply_behaviour(form_value(*form, "model"), behaviour);
        if (body.is_object() && body.contains("model") && body["model"].is_string())
            apply_behaviour(body["model"].get_ref<const std::string&>(), behaviour);
        if (!control_.mode().empty()) apply_behaviour(control_.mode(), behaviour);
        if (behaviour.status != 200) {
            answer = error_answer(behaviour.status, "misbehaving as asked", behaviour, path);
        } else if (!body.is_object()) {
            answer = error_answer(400, "the body is not a JSON object", behaviour, path);
        } else if (is_form) {
            answer = form ? transcript_answer(*form, behaviour)
                          : error_answer(400, "the body is not a form", behaviour, path);
            if (behaviour.cut_after) answer.ending = Ending::cut;
        } else {
            answer = checked_answer(path, body, behaviour);
        }
        misbehave(answer, behaviour);
        answer.held = behaviour.held;
        answer.held_after = behaviour.held_after;
        return answer;
    }
    // A busy server (429, 503) still says that it is alive; a broken one does not.
    if (!control_.mode().empty()) apply_behaviour(control_.mode(), behaviour);
    if (behaviour.status != 200 && behaviour.status != 429 && behaviour.status != 503)
        answer = error_answer(behaviour.status, "misbehaving as asked", behaviour, path);
    misbehave(answer, behaviour);
    return answer;
}

}  // namespace lumen::model_server

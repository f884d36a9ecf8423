#include "tests/harness/model_server/anthropic_answers.h"

#include <memory>

namespace lumen::model_server {
namespace {

using nlohmann::json;

std::size_t count_input_tokens(const json& request) {
    return count_content_tokens(request.value("messages", json::array())) +
           count_content_tokens(request.value("system", json()));
}

/// Anthropic counts cached tokens apart from input_tokens.
json input_usage(const Generation& generation, std::size_t output_tokens) {
    return {{"input_tokens", generation.prompt_tokens - generation.cached_tokens - generation.cache_write_tokens},
            {"cache_creation_input_tokens", generation.cache_write_tokens},
            {"cache_read_input_tokens", generation.cached_tokens},
            {"output_tokens", output_tokens}};
}

const char* stop_reason(const Generation& generation) {
    return generation.truncated ? "max_tokens" : "end_turn";
}

json message_object(const Generation& generation) {
    return {{"id", "msg_" + generation.id}, {"type", "message"},        {"role", "assistant"},
            {"model", generation.model},    {"content", json::array()}, {"stop_reason", nullptr},
            {"stop_sequence", nullptr}};
}

class MessageStream {
 public:
    MessageStream(Generation generation, bool with_usage)
        : generation_(std::move(generation)), with_usage_(with_usage) {}

    bool next(std::string& out) {
        switch (step_) {
            case Step::start: {
                step_ = Step::block_start;
                json message = message_object(generation_);
                if (with_usage_) message["usage"] = input_usage(generation_, 0);
                append(out, "message_start", {{"message", std::move(message)}});
                return true;
            }
            case Step::block_start:
                step_ = Step::tokens;
                append(out, "content_block_start", {{"index", 0}, {"content_block", {{"type", "text"}, {"text", ""}}}});
                return true;
            case Step::tokens:
                if (generation_.cut_after && sent_ == *generation_.cut_after) return false;
                if (sent_ < generation_.pieces.size()) {
                    append(out, "content_block_delta",
                           {{"index", 0}, {"delta", {{"type", "text_delta"}, {"text", generation_.pieces[sent_++]}}}});
                    return true;
                }
                step_ = Step::delta;
                append(out, "content_block_stop", {{"index", 0}});
                return true;
            case Step::delta: {
                step_ = Step::stop;
                json event = {{"delta", {{"stop_reason", stop_reason(generation_)}, {"stop_sequence", nullptr}}}};
                if (with_usage_) event["usage"] = {{"output_tokens", sent_}};
                append(out, "message_delta", std::move(event));
                return true;
            }
            case Step::stop:
                step_ = Step::ended;
                append(out, "message_stop", json::object());
                return true;
            case Step::ended:
                break;
        }
        return false;
    }

 private:
    enum class Step : std::uint8_t { start, block_start, tokens, delta, stop, ended };

    static void append(std::string& out, const char* type, json event) {
        event["type"] = type;
        out += std::string("event: ") + type + "\ndata: " + event.dump() + "\n\n";
    }

    Generation generation_;
    bool with_usage_;
    Step step_ = Step::start;
    std::size_t sent_ = 0;
};

}  // namespace

Generation generate_message(const json& request, const Behaviour& behaviour) {
    const json messages = request.value("messages", json::array());
    const json question = messages.is_array() && !messages.empty() && messages.back().is_object()
                              ? messages.back().value("content", json())
                              : json();
    return generate(request, count_input_tokens(request), content_text(question), whole_number(request, {"max_tokens"}),
                    behaviour);
}

std::string count_tokens_body(const json& request) {
    return json{{"input_tokens", count_input_tokens(request)}}.dump();
}

std::string message_body(const Generation& generation, const Behaviour& behaviour) {
    json body = message_object(generation);
    body["content"].push_back({{"type", "text"}, {"text", generation.text()}});
    body["stop_reason"] = stop_reason(generation);
    if (behaviour.usage != UsageReport::never) body["usage"] = input_usage(generation, generation.pieces.size());
    return body.dump();
}

EventSource message_events(Generation generation, const Behaviour& behaviour) {
    auto stream = std::make_shared<MessageStream>(std::move(generation), behaviour.usage != UsageReport::never);
    return [stream](std::string& out) { return stream->next(out); };
}

std::string anthropic_error_body(int status, const std::string& message) {
    const char* type = status == 429   ? "rate_limit_error"
                       : status == 529 ? "overloaded_error"
                       : status < 500  ? "invalid_request_error"
                                       : "api_error";
    return json{{"type", "error"}, {"error", {{"type", type}, {"message", message}}}}.dump();
}

}  // namespace lumen::model_server

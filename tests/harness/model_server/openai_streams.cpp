// Server-sent events of OpenAI's dialect.
#include <memory>

#include "tests/harness/model_server/openai_answers.h"

namespace lumen::model_server {
namespace {

using nlohmann::json;

void append_data(std::string& out, const json& event) {
    out += "data: ";
    out += event.dump();
    out += "\n\n";
}

/// chat/completions and completions: head, one event per token, the finish, the usage if it was asked for, [DONE].
class ChunkStream {
 public:
    ChunkStream(Dialect dialect, Generation generation) : dialect_(dialect), generation_(std::move(generation)) {
        const bool chat = dialect == Dialect::chat;
        const json frame = {{"id", (chat ? "chatcmpl-" : "cmpl-") + generation_.id},
                            {"object", chat ? "chat.completion.chunk" : "text_completion"},
                            {"created", generation_.created},
                            {"model", generation_.model}};
        frame_ = frame.dump();
        frame_.pop_back();  // its brace: the rest of each event follows
    }

    bool next(std::string& out) {
        switch (step_) {
            case Step::role:
                step_ = Step::tokens;
                if (dialect_ == Dialect::chat) {
                    append(out, R"({"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null})");
                    return true;
                }
                [[fallthrough]];
            case Step::tokens:
                if (generation_.cut_after && sent_ == *generation_.cut_after) return false;
                if (sent_ < generation_.pieces.size()) {
                    append_token(out, generation_.pieces[sent_++]);
                    return true;
                }
                step_ = generation_.include_usage && !generation_.usage_in_every_chunk ? Step::usage : Step::done;
                append_finish(out);
                return true;
            case Step::usage:
                step_ = Step::done;
                out += "data: " + frame_ +
                       ",\"choices\":[],\"usage\":" + chat_usage(generation_, generation_.pieces.size()).dump() +
                       "}\n\n";
                return true;
            case Step::done:
                step_ = Step::ended;
                out += "data: [DONE]\n\n";
                return true;
            case Step::ended:
                break;
        }
        return false;
    }

 private:
    enum class Step : std::uint8_t { role, tokens, usage, done, ended };

    void append_token(std::string& out, const std::string& piece) const {
        const std::string text = json(piece).dump();
        append(out, dialect_ == Dialect::chat
                        ? "{\"index\":0,\"delta\":{\"content\":" + text + "},\"finish_reason\":null}"
                        : "{\"index\":0,\"text\":" + text + ",\"logprobs\":null,\"finish_reason\":null}");
    }

    void append_finish(std::string& out) const {
        const std::string reason = generation_.truncated ? "\"length\"" : "\"stop\"";
        append(out, dialect_ == Dialect::chat
                        ? "{\"index\":0,\"delta\":{},\"finish_reason\":" + reason + "}"
                        : "{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":" + reason + "}");
    }

    void append(std::string& out, const std::string& choice) const {
        out += "data: ";
        out += frame_;
        out += ",\"choices\":[";
        out += choice;
        out += ']';
        if (generation_.usage_in_every_chunk)
            out += ",\"usage\":" + chat_usage(generation_, sent_).dump();
        else if (generation_.include_usage)
            out += ",\"usage\":null";
        out += "}\n\n";
    }

    Dialect dialect_;
    Generation generation_;
    std::string frame_;
    Step step_ = Step::role;
    std::size_t sent_ = 0;
};

/// responses: each event names itself, and the last one carries the whole response.
class ResponseStream {
 public:
    ResponseStream(Generation generation) : generation_(std::move(generation)) {}

    bool next(std::string& out) {
        if (sequence_ == 0) {
            append(out, "response.created", {{"response", responses_object(generation_, "in_progress", false)}});
        } else if (generation_.cut_after && sent_ == *generation_.cut_after) {
            return false;
        } else if (sent_ < generation_.pieces.size()) {
            append(out, "response.output_text.delta",
                   {{"item_id", "msg_" + generation_.id},
                    {"output_index", 0},
                    {"content_index", 0},
                    {"delta", generation_.pieces[sent_++]}});
        } else if (!ended_) {
            ended_ = true;
            const char* status = generation_.truncated ? "incomplete" : "completed";
            append(out, std::string("response.") + status,
                   {{"response", responses_object(generation_, status, generation_.include_usage)}});
        } else {
            return false;
        }
        return true;
    }

 private:
    void append(std::string& out, const std::string& type, json event) {
        event["type"] = type;
        event["sequence_number"] = sequence_++;
        out += "event: " + type + "\n";
        append_data(out, event);
    }

    Generation generation_;
    std::size_t sent_ = 0;
    int sequence_ = 0;
    bool ended_ = false;
};

}  // namespace

EventSource openai_events(Dialect dialect, Generation generation) {
    // std::function wants what it holds to be copyable, and a stream is not meant to be copied.
    if (dialect == Dialect::responses) {
        auto stream = std::make_shared<ResponseStream>(std::move(generation));
        return [stream](std::string& out) { return stream->next(out); };
    }
    auto stream = std::make_shared<ChunkStream>(dialect, std::move(generation));
    return [stream](std::string& out) { return stream->next(out); };
}

}  // namespace lumen::model_server

#include "tests/harness/model_server/openai_answers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "tests/harness/model_server/text_tokens.h"

namespace lumen::model_server {
namespace {

using nlohmann::json;

constexpr std::size_t kDefaultDimensions = 64;
constexpr std::size_t kMaxDimensions = 4096;

/// The last message of the user, else the last message.
std::string last_question(const json& messages) {
    if (!messages.is_array() || messages.empty()) return {};
    const auto from_user = [](const json& message) {
        return message.is_object() && message.value("role", "") == "user";
    };
    const auto found = std::find_if(messages.rbegin(), messages.rend(), from_user);
    const json& message = found != messages.rend() ? *found : messages.back();
    return message.is_object() && message.contains("content") ? content_text(message["content"]) : std::string();
}

const json& member(const json& object, const char* name) {
    static const json kNothing;
    const auto found = object.find(name);
    return found != object.end() ? *found : kNothing;
}

std::string base64(const std::vector<float>& vector) {
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string bytes(vector.size() * sizeof(float), '\0');
    std::memcpy(bytes.data(), vector.data(), bytes.size());
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        std::uint32_t triple = 0;
        const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
        for (std::size_t j = 0; j < 3; ++j)
            triple = triple << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
        for (std::size_t j = 0; j < 4; ++j) text += j <= count ? kDigits[triple >> (18 - 6 * j) & 63] : '=';
    }
    return text;
}

/// A unit vector that depends on the text alone (FNV-1a, then a linear congruence).
std::vector<float> embed(const std::string& text, std::size_t dimensions) {
    std::uint64_t state = 14695981039346656037U;
    for (const char c : text) state = (state ^ static_cast<unsigned char>(c)) * 1099511628211U;
    std::vector<float> vector(dimensions);
    double squares = 0;
    for (float& value : vector) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        value = static_cast<float>(static_cast<double>(state >> 40) / double{1 << 24} - 0.5);
        squares += double{value} * double{value};
    }
    for (float& value : vector) value = static_cast<float>(double{value} / std::sqrt(squares));
    return vector;
}

/// Share of the query's tokens that the document has, so that the order means something.
double relevance(const std::vector<std::string>& query, const std::string& document) {
    if (query.empty()) return 0;
    const auto in_document = [&](const std::string& token) { return document.find(token) != std::string::npos; };
    return static_cast<double>(std::count_if(query.begin(), query.end(), in_document)) /
           static_cast<double>(query.size());
}

json input_usage(std::size_t tokens) {
    return {{"prompt_tokens", tokens}, {"total_tokens", tokens}};
}

}  // namespace

Generation generate_openai(Dialect dialect, const json& request, const Behaviour& behaviour) {
    switch (dialect) {
        case Dialect::chat: {
            const json& messages = member(request, "messages");
            return generate(request, count_content_tokens(messages), last_question(messages),
                            whole_number(request, {"max_completion_tokens", "max_tokens"}), behaviour);
        }
        case Dialect::completions: {
            const json& prompt = member(request, "prompt");
            return generate(request, count_content_tokens(prompt), content_text(prompt),
                            whole_number(request, {"max_tokens"}), behaviour);
        }
        case Dialect::responses:
            break;
    }
    const json& input = member(request, "input");
    return generate(request, count_content_tokens(input) + count_content_tokens(member(request, "instructions")),
                    input.is_string() ? input.get<std::string>() : last_question(input),
                    whole_number(request, {"max_output_tokens"}), behaviour);
}

json chat_usage(const Generation& generation, std::size_t output_tokens) {
    return {
        {"prompt_tokens", generation.prompt_tokens},
        {"completion_tokens", output_tokens},
        {"total_tokens", generation.prompt_tokens + output_tokens},
        {"prompt_tokens_details", {{"cached_tokens", generation.cached_tokens}}},
        {"completion_tokens_details", {{"reasoning_tokens", std::min(generation.reasoning_tokens, output_tokens)}}}};
}

json responses_object(const Generation& generation, const char* status, bool with_usage) {
    const std::size_t output = generation.pieces.size();
    json response = {{"id", "resp_" + generation.id},
                     {"object", "response"},
                     {"created_at", generation.created},
                     {"model", generation.model},
                     {"status", status},
                     {"output", json::array()},
                     {"usage", nullptr}};
    if (std::strcmp(status, "in_progress") == 0) return response;
    response["output"].push_back(
        {{"type", "message"},
         {"id", "msg_" + generation.id},
         {"role", "assistant"},
         {"status", status},
         {"content", {{{"type", "output_text"}, {"text", generation.text()}, {"annotations", json::array()}}}}});
    if (with_usage)
        response["usage"] = {{"input_tokens", generation.prompt_tokens},
                             {"input_tokens_details", {{"cached_tokens", generation.cached_tokens}}},
                             {"output_tokens", output},
                             {"output_tokens_details", {{"reasoning_tokens", generation.reasoning_tokens}}},
                             {"total_tokens", generation.prompt_tokens + output}};
    return response;
}

std::string openai_body(Dialect dialect, const Generation& generation, const Behaviour& behaviour) {
    const bool with_usage = behaviour.usage != UsageReport::never;
    if (dialect == Dialect::responses)
        return responses_object(generation, generation.truncated ? "incomplete" : "completed", with_usage).dump();

    const char* reason = generation.truncated ? "length" : "stop";
    json body = {{"created", generation.created}, {"model", generation.model}};
    if (dialect == Dialect::chat) {
        body["id"] = "chatcmpl-" + generation.id;
        body["object"] = "chat.completion";
        body["choices"] = {{{"index", 0},
                            {"message", {{"role", "assistant"}, {"content", generation.text()}}},
                            {"logprobs", nullptr},
                            {"finish_reason", reason}}};
    } else {
        body["id"] = "cmpl-" + generation.id;
        body["object"] = "text_completion";
        body["choices"] = {
            {{"index", 0}, {"text", generation.text()}, {"logprobs", nullptr}, {"finish_reason", reason}}};
    }
    if (with_usage) body["usage"] = chat_usage(generation, generation.pieces.size());
    return body.dump();
}

std::string embeddings_body(const json& request, const Behaviour& behaviour) {
    const json& input = member(request, "input");
    const std::size_t dimensions =
        std::clamp<std::size_t>(whole_number(request, {"dimensions"}).value_or(kDefaultDimensions), 1, kMaxDimensions);
    const bool as_base64 = request.value("encoding_format", "float") == "base64";
    json data = json::array();
    const auto add = [&](const json& one) {
        const std::vector<float> vector = embed(one.is_string() ? one.get<std::string>() : one.dump(), dimensions);
        json item = {{"object", "embedding"}, {"index", data.size()}};
        if (as_base64)
            item["embedding"] = base64(vector);
        else
            item["embedding"] = vector;
        data.push_back(std::move(item));
    };
    // A list of numbers is one text, given as tokens; any other list is one text per element.
    if (input.is_array() && !(!input.empty() && input.front().is_number()))
        for (const json& one : input) add(one);
    else
        add(input);
    json body = {{"object", "list"}, {"data", std::move(data)}, {"model", request.value("model", "")}};
    if (behaviour.usage != UsageReport::never) body["usage"] = input_usage(count_content_tokens(input));
    return body.dump();
}

std::string rerank_body(const json& request, const Behaviour& behaviour) {
    const json& documents = member(request, "documents");
    const std::string query = content_text(member(request, "query"));
    std::vector<std::string> wanted = split_tokens(query);
    for (std::string& token : wanted) token.erase(0, token.find_first_not_of(" \t\r\n"));
    json results = json::array();
    for (std::size_t i = 0; i < documents.size(); ++i)
        results.push_back({{"index", i}, {"relevance_score", relevance(wanted, content_text(documents[i]))}});
    std::stable_sort(results.begin(), results.end(), [](const json& a, const json& b) {
        return a["relevance_score"].get<double>() > b["relevance_score"].get<double>();
    });
    const std::size_t top = whole_number(request, {"top_n"}).value_or(results.size());
    while (results.size() > top) results.erase(results.size() - 1);
    json body = {{"id", "rerank-1"}, {"model", request.value("model", "")}, {"results", std::move(results)}};
    if (behaviour.usage != UsageReport::never)
        body["usage"] = input_usage(count_tokens(query) + count_content_tokens(documents));
    return body.dump();
}

std::string score_body(const json& request, const Behaviour& behaviour) {
    const json& one = member(request, "text_1");
    const json& other = member(request, "text_2");
    const auto side = [](const json& texts, std::size_t i) {
        return texts.is_array() ? content_text(texts.at(texts.size() == 1 ? 0 : i)) : content_text(texts);
    };
    const std::size_t pairs =
        std::max<std::size_t>(one.is_array() ? one.size() : 1, other.is_array() ? other.size() : 1);
    json data = json::array();
    std::size_t tokens = 0;
    for (std::size_t i = 0; i < pairs; ++i) {
        const std::string first = side(one, i);
        const std::string second = side(other, i);
        tokens += count_tokens(first) + count_tokens(second);
        data.push_back({{"index", i}, {"object", "score"}, {"score", relevance(split_tokens(first), second)}});
    }
    json body = {
        {"id", "score-1"}, {"object", "list"}, {"model", request.value("model", "")}, {"data", std::move(data)}};
    if (behaviour.usage != UsageReport::never) body["usage"] = input_usage(tokens);
    return body.dump();
}

/// As OpenAI's: without any usage.
std::string moderations_body(const json& request) {
    return json{
        {"id", "modr-1"},
        {"model", request.value("model", "")},
        {"results", {{{"flagged", false}, {"categories", json::object()}, {"category_scores", json::object()}}}}}
        .dump();
}

std::string models_body(const std::vector<std::string>& names) {
    json data = json::array();
    for (const std::string& name : names)
        data.push_back({{"id", name}, {"object", "model"}, {"created", 1700000000}, {"owned_by", "lumen"}});
    return json{{"object", "list"}, {"data", std::move(data)}}.dump();
}

std::string openai_error_body(int status, const std::string& message, bool integer_code) {
    if (integer_code)
        return json{{"object", "error"},
                    {"message", message},
                    {"type", "BadRequestError"},
                    {"param", nullptr},
                    {"code", status}}
            .dump();
    return json{{"error", {{"message", message}, {"type", "server_error"}, {"param", nullptr}, {"code", nullptr}}}}
        .dump();
}

}  // namespace lumen::model_server

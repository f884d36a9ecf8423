// Whatever a model server answers, the client gets one JSON error of a bounded size in OpenAI's envelope.
#include <simdjson.h>

#include "lumen_core/api_error.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    constexpr std::size_t kMostBytes =
        32 * 1024;  // 2 KiB of message, type and code, each byte escaped sixfold at worst
    simdjson::dom::parser parser;
    for (const int status : {400, 404, 413, 422, 429, 500, 503}) {
        const std::string body = normalised_upstream_error(Dialect::openai, status, fuzz::text_of(data, size));
        fuzz::require(body.size() <= kMostBytes, "errors are short");
        simdjson::dom::element document;
        fuzz::require(!parser.parse(body).get(document), "an error is JSON");
        std::string_view text;
        fuzz::require(!document["error"]["message"].get_string().get(text) && !text.empty(), "an error has a message");
        fuzz::require(!document["error"]["type"].get_string().get(text) && !text.empty(), "an error has a type");
        simdjson::dom::element code;
        fuzz::require(!document["error"]["code"].get(code) && (code.is_null() || code.is_string()),
                      "a code is text or null");
    }
    // Under the status of a success it is looked at in the same way, and its words are those of an error.
    const std::string_view answer = fuzz::text_of(data, size);
    const std::string message = upstream_error_message(answer);
    fuzz::require(message.size() <= kMostBytes && !gives_away(message), "a message gives nothing away");
    if (is_error_answer(answer)) fuzz::require(answer.find('{') != std::string_view::npos, "an error is an object");
    return 0;
}

// What the body filter knows of an answer on its way to the client.
#pragma once

#include <string>

#include "lumen_core/json_meter.h"
#include "ngx_lumen_module/answer_output.h"
#include "ngx_lumen_module/read_buffer.h"
#include "ngx_lumen_module/request.h"
#include "ngx_lumen_module/upstream_body.h"

namespace lumen {

enum class AnswerForm : std::uint8_t {
    opaque,     ///< compressed: passes unread
    stream,     ///< server-sent events
    held_json,  ///< kept until it is whole, as its cost is a header (T62)
    held_text,  ///< the same, of an answer that is no JSON: it tells nothing about its usage
    long_json,  ///< too long for that: read while it passes
    refusal,    ///< an error of the endpoint, to be told in our words
};

/// What a strict stream had cost before the output that waits.
struct MeteredSoFar {
    Usage usage;
    UsageSource source = UsageSource::none;
    std::uint64_t output_bytes = 0;
};

struct AnswerState {
    AnswerForm form = AnswerForm::opaque;
    bool header_sent = false;
    bool ended = false;             ///< the last buffer was sent, or must not be
    bool keeps_connection = false;  ///< what its header said to the client

    BodyReaders readers;

    std::string held;  ///< held_*, refusal: the body so far; later the body that is sent
    std::optional<JsonMeter> json;

    // stream
    AnswerOutput output;
    ReadBuffer read_buffer;
    bool finished_meter = false;
    std::string text;                         ///< given out by the meter, on its way to the client
    std::size_t closing = std::string::npos;  ///< offset in `text` of the closing event
    bool cost_told = false;
    bool waits = false;  ///< strict: `text` would cost more than the hold
    MeteredSoFar before;
    ngx_chain_t* unread = nullptr;  ///< what came while `text` waits
    char last_byte = '\n';          ///< that the client got
};

}  // namespace lumen

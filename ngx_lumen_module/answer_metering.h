// Turns what an answer has told so far into the usage that is charged, and ends the metering (spec/api.md §4).
#pragma once

#include "ngx_lumen_module/answer_state.h"

namespace lumen {

/// From the stream's meter; an estimate while no usage has come, nothing while no output has.
void meter_stream(Request& request);
/// From what was read of a JSON answer: its usage, or an estimate by what was asked and generated.
void meter_json(Request& request, const JsonMeter& json);
/// From the request alone and how much came, of an answer that is not read: compressed, sound, or plain text.
void meter_unread(Request& request) noexcept;
/// The answer never became whole and the client got nothing of it: nothing is charged.
void forget_usage(Request& request) noexcept;

}  // namespace lumen

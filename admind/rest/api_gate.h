// What admind answers behind the gate: /v1/key and /v1/usage/{request_id}, for whoever the gate says is calling
// (spec/rest.md §3). Errors are OpenAI's, as everywhere under /v1.
#pragma once

#include "admind/services.h"
#include "admind/text/http_message.h"

namespace lumen::admind {

bool is_gate_path(const std::string& path) noexcept;
HttpAnswer answer_gate_request(const Services& services, const HttpRequest& request) noexcept;

}  // namespace lumen::admind

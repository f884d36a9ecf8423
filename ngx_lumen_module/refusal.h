// Answers a request with a row of the error table (spec/api.md §2, T20).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Sends status, headers and body; returns what the phase handler has to return. `request` may be null (no state yet).
ngx_int_t send_refusal(ngx_http_request_t* r, Request* request, Refusal refusal, const RefusalDetails& details);

/// `x-request-id` and the other headers every answer carries; used by refusals, local answers and the header filter.
ngx_int_t add_header(ngx_http_request_t* r, std::string_view name, std::string_view value);

}  // namespace lumen

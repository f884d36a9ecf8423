// Answers a request with a row of the error table (spec/api.md §2, T20).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Sends status, headers and body, and ends the request: `r` may be gone afterwards. Always NGX_DONE, for a phase
/// handler to return. `request` may be null (no state yet). Headers that depend on the case are added before.
ngx_int_t send_refusal(ngx_http_request_t* r, Request* request, Refusal refusal, const RefusalDetails& details);

/// A response header. `name`: a literal; `value` is copied.
ngx_int_t add_header(ngx_http_request_t* r, std::string_view name, std::string_view value);

void set_json_content_type(ngx_http_request_t* r) noexcept;
/// Sends the header as it was prepared and this body, and ends the request: `r` may be gone afterwards.
void send_body(ngx_http_request_t* r, std::string_view body);

}  // namespace lumen

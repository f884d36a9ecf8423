// The gate: decides whether a request may start, and takes the coins it may cost (design.md §3, steps 1 to 6).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Handler of the precontent phase, so nginx's own allow/deny, auth_request and limit_req have spoken (T14).
ngx_int_t gate(ngx_http_request_t* r) noexcept;

/// The request goes on to what its location does with it.
void enter(Request& request);

}  // namespace lumen

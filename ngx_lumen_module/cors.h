// Pages of other sites: which of them may call /v1 from a browser (app.cors_origins of lumen.yaml; none by default).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// A browser asks, without a key, whether a page of an allowed origin may send what it wants to send.
bool is_preflight(const ngx_http_request_t* r) noexcept;
void answer_preflight(Request& request);
/// On every answer under /v1: lets the page read it, and those of its headers that SDKs look at.
void add_cors_headers(ngx_http_request_t* r);

}  // namespace lumen

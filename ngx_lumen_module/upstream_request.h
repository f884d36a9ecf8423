// The request as one endpoint gets it: its path, its model name, stream_options for usage; rebuilt on failover (T34,
// T63).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Sets r->request_body, content length and r->uri for request.routing.endpoint, from the original body, by splices:
/// only what changes is new memory.
ngx_int_t build_upstream_request(Request& request);

/// Once nginx has made its request line: $uri and $args are the client's again, in logs and everywhere.
void restore_client_uri(Request& request) noexcept;

}  // namespace lumen

// lumen_balancer: picks an endpoint for each attempt by live load and health, and fails over (T31…T43).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Directive `lumen_balancer` in an upstream{} block: replaces its peer selection; `keepalive` must follow it (T32,
/// T33).
char* balancer_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);

/// After admit, before the content phase: picks the first endpoint and builds the upstream request for it, as nginx
/// creates the request before it asks for a peer (T31). no_healthy_endpoint / overloaded if there is none.
Refusal choose_first_endpoint(Request& request);

/// Gives back what a request still counts as in flight; from the pool cleanup.
void release_endpoint(Request& request) noexcept;

/// The header of an answer came: `status` as the endpoint sent it, 0 for bytes that are no HTTP.
void endpoint_answered(Request& request, ngx_uint_t status);
/// An answer that had begun was cut.
void endpoint_broke_off(Request& request);

}  // namespace lumen

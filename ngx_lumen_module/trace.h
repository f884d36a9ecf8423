// The request's W3C trace context: passed on to the model server, returned to the caller, and in the log.
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// The caller's `traceparent` if there is exactly one and it is valid, else one of the request's own. Lives as long as
/// the request.
std::string_view traceparent_of(Request& request) noexcept;

}  // namespace lumen

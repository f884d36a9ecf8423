// Reads the request body and lays it out as one piece (T15…T18).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Reads the body into request.body, then goes on with `next`; maybe at once, from inside this call. A body that is too
/// long (kMaxJsonBodyBytes) or cannot be read ends the request: 413 by us or by nginx, 499 for a client that left.
void read_body(Request& request, Step next);

}  // namespace lumen

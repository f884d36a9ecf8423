// A client that leaves while its answer is on the way: the answer is read on for a while, so that what the model
// produced is charged by its real usage (T51…T53, L13).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Before each attempt: notices a client that leaves from here on, in place of nginx, which would close the upstream.
void watch_client(Request& request);

/// The client is known to be gone: nothing is sent to it any more, and the reading ends after lumen_drain_aborted.
void begin_drain(Request& request);

}  // namespace lumen

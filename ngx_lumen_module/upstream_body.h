// How nginx reads the body of an endpoint's answer, where by itself it would leave the client without a word.
#pragma once

#include "ngx_lumen_module/ngx.h"

namespace lumen {

struct Request;

/// nginx's own, which ours stand before.
struct BodyReaders {
    ngx_int_t (*begin)(void* data) = nullptr;
    ngx_int_t (*read)(void* data, ssize_t bytes) = nullptr;
    ngx_event_pipe_input_filter_pt read_buffered = nullptr;  ///< where proxy_buffering is on
};

/// Once the header has come: a body whose chunks are malformed ends as one that was cut, with an error that the client
/// can read (L29), and an informational answer has none.
void watch_body(Request& request) noexcept;

}  // namespace lumen

#include "ngx_lumen_module/upstream_body.h"

#include "ngx_lumen_module/answer_state.h"

namespace lumen {
namespace {

const BodyReaders* readers_of(ngx_http_request_t* r) noexcept {
    const Request* request = find_request(r);
    return request != nullptr && request->metering.answer != nullptr ? &request->metering.answer->readers : nullptr;
}

/// Told of an error, nginx would close the client's connection at once. Of a lost endpoint it makes the end of the
/// answer, and asks our filter for it (T49).
ngx_int_t read_chunks(void* data, ssize_t bytes) noexcept {
    auto* r = static_cast<ngx_http_request_t*>(data);
    const BodyReaders* readers = readers_of(r);
    if (readers == nullptr) return NGX_ERROR;
    if (readers->read(data, bytes) == NGX_ERROR) r->upstream->error = 1;
    return NGX_OK;
}

ngx_int_t read_buffered_chunks(ngx_event_pipe_t* pipe, ngx_buf_t* buf) noexcept {
    const BodyReaders* readers = readers_of(static_cast<ngx_http_request_t*>(pipe->input_ctx));
    if (readers == nullptr) return NGX_ERROR;
    if (readers->read_buffered(pipe, buf) == NGX_ERROR) pipe->upstream_error = 1;
    return NGX_OK;
}

/// The real answer would follow; nginx waits for the body of this one.
void expect_no_body(ngx_http_upstream_t& upstream) noexcept {
    upstream.length = 0;
    upstream.keepalive = 0;
    if (upstream.pipe != nullptr) upstream.pipe->length = 0;
}

ngx_int_t begin_body(void* data) noexcept {
    auto* r = static_cast<ngx_http_request_t*>(data);
    Request* request = find_request(r);
    if (request == nullptr || request->metering.answer == nullptr) return NGX_ERROR;
    BodyReaders& readers = request->metering.answer->readers;
    if (readers.begin(data) != NGX_OK) return NGX_ERROR;
    ngx_http_upstream_t& upstream = *r->upstream;
    if (upstream.headers_in.status_n < NGX_HTTP_OK) expect_no_body(upstream);
    if (!upstream.headers_in.chunked) return NGX_OK;  // what is counted or ends with the connection can't be malformed
    readers.read = upstream.input_filter;
    upstream.input_filter = read_chunks;
    if (upstream.pipe != nullptr) {
        readers.read_buffered = upstream.pipe->input_filter;
        upstream.pipe->input_filter = read_buffered_chunks;
    }
    return NGX_OK;
}

}  // namespace

void watch_body(Request& request) noexcept {
    ngx_http_upstream_t& upstream = *request.r->upstream;
    upstream.upgrade = 0;  // never a tunnel that nobody meters
    if (upstream.input_filter_init == nullptr || upstream.input_filter_ctx != request.r) return;
    request.metering.answer->readers.begin = upstream.input_filter_init;
    upstream.input_filter_init = begin_body;
}

}  // namespace lumen

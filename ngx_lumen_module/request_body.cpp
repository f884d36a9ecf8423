#include "ngx_lumen_module/request_body.h"

#include <sys/mman.h>

#include <utility>

#include "lumen_core/form_facts.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/refusal.h"

namespace lumen {
namespace {

std::size_t bytes_of(const ngx_chain_t* chain) noexcept {
    std::size_t bytes = 0;
    for (; chain != nullptr; chain = chain->next) bytes += static_cast<std::size_t>(ngx_buf_size(chain->buf));
    return bytes;
}

/// A body that came in one piece, with room behind it that may be read: nothing to copy.
bool usable_in_place(const ngx_chain_t& chain) noexcept {
    const ngx_buf_t& buf = *chain.buf;
    return chain.next == nullptr && !buf.in_file && buf.end - buf.last >= static_cast<std::ptrdiff_t>(kJsonPadding);
}

bool append(u_char*& to, ngx_buf_t& buf) {
    const auto bytes = static_cast<std::size_t>(ngx_buf_size(&buf));
    if (bytes == 0) return true;  // a chunked body ends with a buffer that is neither in memory nor in a file
    if (ngx_buf_in_memory(&buf)) {
        to = ngx_cpymem(to, buf.pos, bytes);
        return true;
    }
    // Only where client_body_buffer_size is below client_max_body_size; lumen.conf sets both equal (T17).
    const ssize_t got = ngx_read_file(buf.file, to, bytes, buf.file_pos);
    to += got > 0 ? got : 0;
    return got == static_cast<ssize_t>(bytes);
}

/// A body that nginx wrote to a file, which is then its only buffer.
bool is_in_file(const ngx_chain_t& chain) noexcept {
    return chain.next == nullptr && chain.buf->in_file && chain.buf->file_pos == 0;
}

struct Mapping {
    void* bytes;
    std::size_t length;
};

/// A form may be far larger than what a worker should have in memory: its file is mapped, so that only what is looked
/// at or sent is there. Nobody but nginx knows the file, and nginx only removes it.
bool map_file(Request& request, const ngx_buf_t& buf, std::size_t bytes) {
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(request.r->pool, sizeof(Mapping));
    if (cleanup == nullptr) return false;
    void* mapped = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, buf.file->fd, 0);
    if (mapped == MAP_FAILED) {
        ngx_log_error(NGX_LOG_ERR, request.r->connection->log, ngx_errno, "lumen: a body's file can't be mapped");
        return false;
    }
    madvise(mapped, bytes, MADV_SEQUENTIAL);
    *static_cast<Mapping*>(cleanup->data) = {mapped, bytes};
    cleanup->handler = [](void* data) {
        const auto& mapping = *static_cast<Mapping*>(data);
        munmap(mapping.bytes, mapping.length);
    };
    request.body = {static_cast<const char*>(mapped), bytes};
    return true;
}

/// false: no memory, or the temporary file cannot be read.
bool lay_out(Request& request, std::size_t bytes) {
    ngx_http_request_t* r = request.r;
    ngx_chain_t* chain = r->request_body->bufs;
    if (bytes == 0) return true;
    if (usable_in_place(*chain)) {
        request.body = {reinterpret_cast<const char*>(chain->buf->pos), bytes};
        return true;
    }
    if (request.form && is_in_file(*chain)) return map_file(request, *chain->buf, bytes);
    auto* whole = static_cast<u_char*>(ngx_pnalloc(r->pool, bytes + kJsonPadding));
    if (whole == nullptr) return false;
    u_char* to = whole;
    for (; chain != nullptr; chain = chain->next) {
        if (!append(to, *chain->buf)) return false;
    }
    request.body = {reinterpret_cast<const char*>(whole), bytes};
    return true;
}

void on_body(ngx_http_request_t* r) {
    Request* request = find_request(r);
    r->preserve_body = 1;
    r->read_event_handler = ngx_http_test_reading;  // a client that leaves now is noticed: 499, log, cleanup
    r->write_event_handler = ngx_http_request_empty_handler;
    if (r->connection->read->pending_eof) {  // its FIN came with the body: there will be no other event (T16)
        ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }
    const bool done = guarded(r->connection->log, "request body", false, [&] {
        const std::size_t bytes = r->request_body != nullptr ? bytes_of(r->request_body->bufs) : 0;
        if (bytes > (request->form ? kMaxFormBytes : kMaxJsonBodyBytes)) {
            send_refusal(r, request, Refusal::body_too_large, {});
            return true;
        }
        if (!lay_out(*request, bytes)) return false;
        std::exchange(request->next, nullptr)(*request);
        return true;
    });
    if (!done) ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
}

}  // namespace

void read_body(Request& request, Step next) {
    ngx_http_request_t* r = request.r;
    request.next = next;
    const ngx_int_t rc = ngx_http_read_client_request_body(r, on_body);
    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ngx_http_finalize_request(r, rc);
        return;
    }
    ngx_http_finalize_request(r, NGX_DONE);  // gives back the count that reading took
}

}  // namespace lumen

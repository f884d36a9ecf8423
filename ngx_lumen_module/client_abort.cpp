#include "ngx_lumen_module/client_abort.h"

#include <algorithm>
#include <cerrno>

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/metrics.h"

namespace lumen {
namespace {

bool has_left(ngx_http_request_t* r) noexcept {
    ngx_connection_t* connection = r->connection;
    if (connection->error || connection->read->pending_eof) return true;
#if (NGX_HTTP_V2)
    if (r->stream != nullptr) return false;  // nginx marks the stream's connection itself
#endif
#if (NGX_HTTP_V3)
    if (connection->quic != nullptr) return false;  // likewise, and its socket is that of all clients
#endif
#if (NGX_HAVE_EPOLLRDHUP)
    if (ngx_use_epoll_rdhup) return false;  // then a close was seen with the event, as pending_eof
#endif
    char byte;
    const ssize_t got = recv(connection->fd, &byte, 1, MSG_PEEK);
    return got == 0 || (got == -1 && ngx_socket_errno != NGX_EAGAIN && ngx_socket_errno != EINTR);
}

void on_client_event(ngx_http_request_t* r) noexcept {
    ngx_connection_t* connection = r->connection;
    guarded_void(connection->log, "client event", [&] {
        Request* request = find_request(r);
        if (request == nullptr || request->metering.client_gone) return;
        ngx_event_t* event = connection->read;
        if ((ngx_event_flags & NGX_USE_LEVEL_EVENT) && event->active) {
            ngx_del_event(event, NGX_READ_EVENT, 0);  // or a pipelined request would wake us for ever
        }
        if (has_left(r)) begin_drain(*request);
    });
}

void on_drain_timer(ngx_event_t* event) noexcept {
    auto* r = static_cast<ngx_http_request_t*>(event->data);
    ngx_connection_t* connection = r->connection;
    ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
    ngx_http_run_posted_requests(connection);
}

}  // namespace

void watch_client(Request& request) {
    ngx_http_request_t* r = request.r;
    if (request.metering.client_gone) return;
    r->read_event_handler = on_client_event;
    r->write_event_handler = ngx_http_request_empty_handler;
    ngx_event_t* event = r->connection->read;
    if (event->ready) {
        ngx_post_event(event, &ngx_posted_events);
    } else {
        ngx_handle_read_event(event, 0);  // failing, an abort is only noticed by the next write
    }
}

void begin_drain(Request& request) {
    if (request.metering.client_gone) return;
    ngx_http_request_t* r = request.r;
    request.routing.drain = make_in_pool<RequestTimer>(r->pool);
    request.metering.client_gone = true;
    count_interrupted(InterruptedBy::client);
    // The connection is not marked as broken before the answer has been read: a subrequest that ended meanwhile, such
    // as a mirror's, would take the request with it.
    r->connection->write->ready = 1;  // a full socket must not stop the reading
    ngx_event_t& timer = request.routing.drain->event;
    timer.handler = on_drain_timer;
    timer.data = r;
    timer.log = r->connection->log;
    timer.cancelable = 1;
    // Never from inside this call: who noticed may be in the middle of the request.
    ngx_add_timer(&timer, std::max<ngx_msec_t>(location_conf(r)->drain_aborted_ms, 1));
}

}  // namespace lumen

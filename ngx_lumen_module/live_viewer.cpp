#include "ngx_lumen_module/live_viewer.h"

#include <new>

#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/live_account.h"
#include "ngx_lumen_module/refusal.h"
#include "ngx_lumen_module/request.h"

namespace lumen {
namespace {

constexpr std::string_view kRetrySeconds = "2";

struct RefusalText {
    ngx_uint_t status;
    std::string_view title;
    std::string_view code;
    std::string_view detail;
};

const RefusalText& text_of(LiveRefusal refusal) noexcept {
    static constexpr RefusalText kTexts[] = {
        {NGX_HTTP_UNAUTHORIZED, "Unauthorized", "unauthenticated", "Sign in: this needs the cookie of a session."},
        {NGX_HTTP_NOT_ALLOWED, "Method Not Allowed", "method_not_allowed", "Only GET is allowed here."},
        {NGX_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable", "redis_unavailable",
         "Live updates are away for the moment. Try again soon."},
        {NGX_HTTP_SERVICE_UNAVAILABLE, "Service Unavailable", "too_many_viewers",
         "Too many pages are open for live updates. Close some, or try again later."},
    };
    return kTexts[static_cast<std::size_t>(refusal)];
}

void end_of_request(void* data) {
    auto* viewer = static_cast<LiveViewer*>(data);
    guarded_void(ngx_cycle->log, "end of live stream", [viewer] {
        detach(viewer->call);
        leave_account(*viewer);
        viewer->gone(*viewer);
    });
    viewer->~LiveViewer();
}

/// The module's context of a request is the gate's (find_request), so a viewer is found by its cleanup.
LiveViewer* find_viewer(ngx_http_request_t* r) noexcept {
    for (ngx_pool_cleanup_t* cleanup = r->pool->cleanup; cleanup != nullptr; cleanup = cleanup->next) {
        if (cleanup->handler == end_of_request) return static_cast<LiveViewer*>(cleanup->data);
    }
    return nullptr;
}

void forget_text(LiveViewer& viewer) noexcept {
    viewer.text.reset();
    viewer.stuck_since_ms = 0;
}

/// After the filters have seen a buffer, or have been asked to go on with it.
void after_output(LiveViewer& viewer, ngx_int_t rc) {
    ngx_http_request_t* r = viewer.r;
    if (rc == NGX_ERROR || ngx_handle_write_event(r->connection->write, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }
    if (rc == NGX_AGAIN || ngx_buf_size(&viewer.buf) > 0) return;
    forget_text(viewer);
    if (!viewer.missed || viewer.account == nullptr) return;
    viewer.missed = false;
    send_to_viewer(viewer, state_after_gap(*viewer.account));
}

void on_writable(ngx_http_request_t* r) noexcept {
    LiveViewer* viewer = find_viewer(r);
    guarded_void(r->connection->log, "live stream", [&] {
        if (viewer != nullptr && viewer->text != nullptr) after_output(*viewer, ngx_http_output_filter(r, nullptr));
    });
}

void send_text(LiveViewer& viewer, std::shared_ptr<const std::string> text) {
    viewer.text = std::move(text);
    viewer.stuck_since_ms = unix_ms();
    ngx_buf_t& buf = viewer.buf;
    buf = {};
    buf.start = buf.pos = reinterpret_cast<u_char*>(const_cast<char*>(viewer.text->data()));
    buf.end = buf.last = buf.pos + viewer.text->size();
    buf.memory = 1;
    buf.flush = 1;
    ngx_chain_t out{&buf, nullptr};
    after_output(viewer, ngx_http_output_filter(viewer.r, &out));
}

bool send_stream_header(ngx_http_request_t* r) {
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = -1;
    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    add_header(r, "Cache-Control", "no-store");
    add_header(r, "X-Accel-Buffering", "no");
    add_header(r, "X-Request-Id", new_request_id().view());
    const ngx_int_t rc = ngx_http_send_header(r);
    if (rc == NGX_OK) return true;
    ngx_http_finalize_request(r, rc);
    return false;
}

}  // namespace

LiveViewer* make_viewer(ngx_http_request_t* r, void (*gone)(LiveViewer&)) {
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(r->pool, sizeof(LiveViewer));
    if (cleanup == nullptr) return nullptr;
    auto* viewer = new (cleanup->data) LiveViewer;
    cleanup->handler = end_of_request;
    viewer->r = r;
    viewer->gone = gone;
    return viewer;
}

std::string_view session_of(const LiveViewer& viewer) noexcept {
    return {viewer.session.data(), viewer.session.size()};
}

void open_viewer(LiveViewer& viewer, std::shared_ptr<const std::string> first) {
    ngx_http_request_t* r = viewer.r;
    viewer.open = true;
    if (!send_stream_header(r)) return;
    r->write_event_handler = on_writable;
    const auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_get_module_loc_conf(r, ngx_http_core_module));
    // Events are small, and a person waits for them.
    if (core->tcp_nodelay && ngx_tcp_nodelay(r->connection) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }
    send_text(viewer, std::move(first));
}

void send_to_viewer(LiveViewer& viewer, const std::shared_ptr<const std::string>& text) {
    if (viewer.text != nullptr) {
        viewer.missed = true;
        return;
    }
    send_text(viewer, text);
}

void end_viewer(LiveViewer& viewer) {
    ngx_http_request_t* r = viewer.r;
    leave_account(viewer);
    if (!viewer.open) return refuse_viewer(r, LiveRefusal::unauthenticated);
    ngx_http_finalize_request(r, ngx_http_send_special(r, NGX_HTTP_LAST));
}

void refuse_viewer(ngx_http_request_t* r, LiveRefusal refusal) {
    const RefusalText& text = text_of(refusal);
    const RequestId id = new_request_id();
    std::string body = R"({"type":"about:blank","title":")";
    body.append(text.title).append(R"(","status":)").append(std::to_string(text.status));
    body.append(R"(,"detail":")").append(text.detail).append(R"(","code":")").append(text.code);
    body.append(R"(","request_id":")").append(id.view()).append(R"("})");
    r->headers_out.status = text.status;
    r->headers_out.content_length_n = static_cast<off_t>(body.size());
    ngx_str_set(&r->headers_out.content_type, "application/problem+json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    add_header(r, "Cache-Control", "no-store");
    add_header(r, "X-Request-Id", id.view());
    if (refusal == LiveRefusal::method_not_allowed) add_header(r, "Allow", "GET");
    if (text.status == NGX_HTTP_SERVICE_UNAVAILABLE) add_header(r, "Retry-After", kRetrySeconds);
    send_body(r, body);
}

}  // namespace lumen

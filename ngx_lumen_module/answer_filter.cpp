#include "ngx_lumen_module/answer_filter.h"

#include <algorithm>
#include <string>

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/cors.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/local_api.h"
#include "ngx_lumen_module/metrics.h"
#include "ngx_lumen_module/quota_headers.h"
#include "ngx_lumen_module/refusal.h"
#include "ngx_lumen_module/trace.h"

namespace lumen {
namespace {

ngx_http_output_header_filter_pt next_header_filter;
ngx_http_output_body_filter_pt next_body_filter;

constexpr ngx_uint_t kVersionNotSupported = 505;  // nginx has a name for it only inside
constexpr std::string_view kOverloadedSeconds = "2";

/// The row of the error table for a status that nginx chose, or another directive of the location.
Refusal refusal_of_status(ngx_uint_t status) noexcept {
    switch (status) {
        case NGX_HTTP_NOT_FOUND:
            return Refusal::unknown_url;
        case NGX_HTTP_FORBIDDEN:
            return Refusal::ip_not_allowed;
        case NGX_HTTP_NOT_ALLOWED:
            return Refusal::method_not_allowed;
        case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
            return Refusal::body_too_large;
        case NGX_HTTP_TOO_MANY_REQUESTS:
            return Refusal::rate_limited;
        case NGX_HTTP_BAD_GATEWAY:
            return Refusal::upstream_error;
        case NGX_HTTP_SERVICE_UNAVAILABLE:
            return Refusal::overloaded;
        case NGX_HTTP_GATEWAY_TIME_OUT:
            return Refusal::upstream_timeout;
        case NGX_HTTP_NOT_IMPLEMENTED:
        case kVersionNotSupported:
            return Refusal::bad_body;
        default:
            return status < NGX_HTTP_INTERNAL_SERVER_ERROR ? Refusal::bad_body : Refusal::internal_error;
    }
}

/// Where the row's words are about more than nginx knows.
std::string_view message_of_status(ngx_uint_t status) noexcept {
    switch (status) {
        case NGX_HTTP_UNAUTHORIZED:
        case NGX_HTTP_FORBIDDEN:
            return "This server does not let the request through to the API. Ask the people who run it.";
        default:
            return "The request is not valid HTTP, or asks for what this server does not do. Check its request line, "
                   "headers and length.";
    }
}

std::string_view allowed_methods(const ngx_http_request_t* r) noexcept {
    const std::string_view path = view(r->uri).substr(std::min(kApiRoot.size(), r->uri.len));
    return is_model_listing(path) || is_account_call(path) ? "GET, HEAD" : "POST";
}

void add_headers_of(ngx_http_request_t* r, Refusal refusal) {
    if (refusal == Refusal::method_not_allowed) add_header(r, "Allow", allowed_methods(r));
    if (refusal == Refusal::overloaded) add_header(r, "retry-after", kOverloadedSeconds);
}

/// admind could not be asked: that is about the books, and about no model server.
void explain_books_away(Request& request, RefusalDetails& details) {
    details.message = "The books can't be read at the moment. Try again in a few seconds.";
    request.r->headers_out.status = NGX_HTTP_SERVICE_UNAVAILABLE;
    add_header(request.r, "retry-after", "1");
}

void replace_error_page(Request& request) {
    ngx_http_request_t* r = request.r;
    const bool books_away = request.asks_admind && r->headers_out.status >= NGX_HTTP_INTERNAL_SERVER_ERROR;
    const Refusal refusal = books_away ? Refusal::billing_unavailable : refusal_of_status(r->headers_out.status);
    RefusalDetails details;
    if (refusal == Refusal::bad_body || refusal == Refusal::ip_not_allowed) {
        details.message = message_of_status(r->headers_out.status);
    }
    if (books_away) explain_books_away(request, details);
    add_headers_of(r, refusal);
    request.error_page = error_body(request.dialect, refusal, details);
    request.refusal = refusal;
    if (request.stage == Stage::reading) request.stage = Stage::refused;
    count_refusal(refusal);
    r->headers_out.content_length_n = static_cast<off_t>(request.error_page.size());
    if (r->headers_out.content_length != nullptr) {
        r->headers_out.content_length->hash = 0;
        r->headers_out.content_length = nullptr;
    }
    set_json_content_type(r);
}

bool made_by_nginx(const ngx_http_request_t* r) noexcept {
    return r->err_status >= NGX_HTTP_BAD_REQUEST;
}

/// What the client asked for, also where nginx found no path in it: too long, or wrongly escaped.
bool asks_for_api(const ngx_http_request_t* r) noexcept {
    if (r->uri.len > 0) return view(r->uri).substr(0, kApiRoot.size()) == kApiRoot;
    if (r->uri_start == nullptr) return false;
    // uri_end means nothing where the line had to move to a larger buffer and was too long for that one as well.
    const u_char* end = r->http_version < NGX_HTTP_VERSION_20 ? r->header_in->last : r->uri_end;
    const std::size_t came = end > r->uri_start ? static_cast<std::size_t>(end - r->uri_start) : 0;
    return view({came, r->uri_start}).substr(0, kApiRoot.size()) == kApiRoot;
}

/// nginx refuses some requests before it has found their location (bad headers): then the path tells whose they were.
bool refused_before_location(const ngx_http_request_t* r) noexcept {
    const auto* core =
        static_cast<const ngx_http_core_srv_conf_t*>(ngx_http_get_module_srv_conf(r, ngx_http_core_module));
    return made_by_nginx(r) && server_conf(r)->gated && r->loc_conf == core->ctx->loc_conf && asks_for_api(r);
}

bool under_gate(const ngx_http_request_t* r) noexcept {
    return location_conf(r)->enabled || refused_before_location(r);
}

ngx_int_t header_filter(ngx_http_request_t* r) noexcept {
    if (r != r->main) return next_header_filter(r);
    Request* known = find_request(r);
    const bool gated = under_gate(r);
    if (!gated && known == nullptr) return next_header_filter(r);
    return guarded(r->connection->log, "header filter", ngx_int_t{NGX_ERROR}, [&]() -> ngx_int_t {
        Request* request = known != nullptr ? known : make_request(r);  // refused by nginx before the gate was reached
        if (request == nullptr || add_header(r, "x-request-id", request->id.view()) != NGX_OK ||
            add_header(r, "traceparent", traceparent_of(*request)) != NGX_OK) {
            return NGX_ERROR;
        }
        if (request->stage == Stage::running || request->stage == Stage::settling) {
            add_rate_limits(r, request->request_rate, request->token_rate);
        }
        // Where error_page led out of the gate, the operator's own page stays as it is.
        if (gated && made_by_nginx(r)) replace_error_page(*request);
        add_cors_headers(r);
        // Anthropic's SDKs look for it under this name.
        if (request->dialect == Dialect::anthropic) add_header(r, "request-id", request->id.view());
        return next_header_filter(r);
    });
}

void consume(ngx_chain_t* chain) noexcept {
    for (; chain != nullptr; chain = chain->next) {
        chain->buf->pos = chain->buf->last;
        chain->buf->file_pos = chain->buf->file_last;
    }
}

ngx_int_t body_filter(ngx_http_request_t* r, ngx_chain_t* in) noexcept {
    const Request* request = in != nullptr && made_by_nginx(r) ? find_request(r) : nullptr;
    if (request == nullptr || request->error_page.empty()) return next_body_filter(r, in);
    consume(in);
    auto* buf = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
    if (buf == nullptr) return NGX_ERROR;
    // The text lives in the request's state, which lives in r->pool.
    buf->pos = buf->start = reinterpret_cast<u_char*>(const_cast<char*>(request->error_page.data()));
    buf->last = buf->end = buf->pos + request->error_page.size();
    buf->memory = 1;
    buf->last_buf = 1;
    buf->last_in_chain = 1;
    ngx_chain_t out{buf, nullptr};
    return next_body_filter(r, &out);
}

}  // namespace

ngx_int_t answer_filter_init(ngx_conf_t*) {
    next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = header_filter;
    next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = body_filter;
    return NGX_OK;
}

}  // namespace lumen

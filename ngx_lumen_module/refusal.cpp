#include "ngx_lumen_module/refusal.h"

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/metrics.h"

namespace lumen {
namespace {

/// "Small": a running request ends in the order of a second.
constexpr std::string_view kSoonMs = "250";
constexpr std::string_view kOverloadedSeconds = "2";
constexpr std::string_view kBillingSeconds = "1";

ngx_uint_t status_of(ngx_http_request_t* r, Refusal refusal) noexcept {
    if (refusal == Refusal::out_of_coins) return location_conf(r)->exhausted_status;
    return static_cast<ngx_uint_t>(refusal_status(dialect_of(r), refusal));
}

// What the row itself asks for; headers that depend on the case were added by who refuses.
ngx_int_t add_row_headers(ngx_http_request_t* r, Refusal refusal) {
    switch (refusal) {
        case Refusal::balance_held:
        case Refusal::too_many_in_flight:
            return add_header(r, "retry-after-ms", kSoonMs);
        case Refusal::overloaded:
            return add_header(r, "retry-after", kOverloadedSeconds);
        case Refusal::billing_unavailable:
            return add_header(r, "retry-after", kBillingSeconds);
        default:
            return NGX_OK;
    }
}

ngx_int_t prepare_header(ngx_http_request_t* r, Refusal refusal, std::size_t body_bytes) {
    r->headers_out.status = status_of(r, refusal);
    r->headers_out.status_line.len = 0;
    r->headers_out.content_length_n = static_cast<off_t>(body_bytes);
    set_json_content_type(r);
    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);
    if (r->headers_out.status == NGX_HTTP_UNAUTHORIZED && add_header(r, "WWW-Authenticate", "Bearer") != NGX_OK) {
        return NGX_ERROR;
    }
    if (refusal_row(refusal).never_retry && add_header(r, "x-should-retry", "false") != NGX_OK) return NGX_ERROR;
    return add_row_headers(r, refusal);
}

}  // namespace

void set_json_content_type(ngx_http_request_t* r) noexcept {
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = nullptr;
    r->headers_out.charset.len = 0;
}

ngx_int_t add_header(ngx_http_request_t* r, std::string_view name, std::string_view value) {
    auto* header = static_cast<ngx_table_elt_t*>(ngx_list_push(&r->headers_out.headers));
    auto* text = static_cast<u_char*>(ngx_pnalloc(r->pool, value.size()));
    if (header == nullptr || text == nullptr) {
        if (header != nullptr) header->hash = 0;  // or the header filter would read an unset element
        return NGX_ERROR;
    }
    header->hash = 1;
#if (nginx_version >= 1023000)
    header->next = nullptr;
#endif
    header->key = {name.size(), reinterpret_cast<u_char*>(const_cast<char*>(name.data()))};
    header->value = {value.size(), text};
    ngx_memcpy(text, value.data(), value.size());
    header->lowcase_key = nullptr;
    return NGX_OK;
}

void send_body(ngx_http_request_t* r, std::string_view body) {
    auto* buf = static_cast<ngx_buf_t*>(ngx_calloc_buf(r->pool));
    auto* bytes = static_cast<u_char*>(ngx_pnalloc(r->pool, body.size()));
    if (buf == nullptr || bytes == nullptr) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }
    r->disable_not_modified = 1;  // no document: a condition on its age or tag would make it an empty answer
    ngx_int_t rc = ngx_http_send_header(r);
    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);
        return;
    }
    buf->pos = buf->start = bytes;
    buf->last = buf->end = ngx_cpymem(bytes, body.data(), body.size());
    buf->memory = 1;
    buf->last_buf = 1;
    buf->last_in_chain = 1;
    ngx_chain_t out{buf, nullptr};
    ngx_http_finalize_request(r, ngx_http_output_filter(r, &out));
}

ngx_int_t send_refusal(ngx_http_request_t* r, Request* request, Refusal refusal, const RefusalDetails& details) {
    const std::string body = error_body(request != nullptr ? request->dialect : dialect_of(r), refusal, details);
    if (request != nullptr) {
        request->refusal = refusal;
        request->gate_result = NGX_DONE;
        if (request->stage == Stage::reading) request->stage = Stage::refused;
    }
    count_refusal(refusal);
    if (ngx_http_discard_request_body(r) != NGX_OK) r->keepalive = 0;
    if (prepare_header(r, refusal, body.size()) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return NGX_DONE;
    }
    send_body(r, body);
    return NGX_DONE;
}

}  // namespace lumen

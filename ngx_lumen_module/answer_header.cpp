#include "ngx_lumen_module/answer_header.h"

#include <algorithm>
#include <array>
#include <string>

#include "lumen_core/money.h"
#include "ngx_lumen_module/refusal.h"

namespace lumen {
namespace {

/// Everything else an endpoint sends is its own business: names, cookies, limits and request ids of a server that the
/// client must not know. A list of what may pass cannot be outgrown by what servers invent.
constexpr std::array<std::string_view, 4> kContentHeaders = {"content-encoding", "content-language", "cache-control",
                                                             "vary"};
constexpr std::string_view kOverloadedSeconds = "2";
constexpr std::string_view kBillingSeconds = "1";

bool is_content_header(const ngx_table_elt_t& header) noexcept {
    const std::string_view name(reinterpret_cast<const char*>(header.lowcase_key), header.key.len);
    return std::find(kContentHeaders.begin(), kContentHeaders.end(), name) != kContentHeaders.end();
}

template <typename Keep>
void drop_headers(ngx_http_request_t* r, Keep keep) noexcept {
    for (ngx_list_part_t* part = &r->headers_out.headers.part; part != nullptr; part = part->next) {
        auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; ++i) {
            // Headers that were read from an endpoint have their name in lower case as well; ours have not.
            if (headers[i].lowcase_key != nullptr && !keep(headers[i])) headers[i].hash = 0;
        }
    }
}

}  // namespace

void drop_upstream_headers(ngx_http_request_t* r) noexcept {
    drop_headers(r, is_content_header);
    // nginx keeps pointers to these and writes them by themselves.
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);
    ngx_http_clear_location(r);
    ngx_http_clear_accept_ranges(r);
    r->headers_out.server = nullptr;
    r->headers_out.date = nullptr;
    r->headers_out.status_line.len = 0;  // the status alone: its phrase is the server's own text
}

void add_answer_headers(Request& request) {
    ngx_http_request_t* r = request.r;
    const Routing& routing = request.routing;
    const bool has_hold = request.stage != Stage::passing && !request.unlimited;
    if (has_hold) add_header(r, "x-lumen-balance", format_coins(request.balance_after_hold));
    if (routing.endpoint != nullptr) add_header(r, "x-lumen-endpoint", routing.endpoint->name);
    add_header(r, "x-lumen-attempts", std::to_string(routing.attempts));
    add_header(r, "x-lumen-overhead-us", std::to_string(request.gate_us));
}

void set_content_length(ngx_http_request_t* r, off_t bytes) noexcept {
    ngx_http_clear_content_length(r);
    r->headers_out.content_length_n = bytes;
}

void make_refusal_header(Request& request, Refusal refusal, std::size_t body_bytes) {
    ngx_http_request_t* r = request.r;
    const RefusalRow& row = refusal_row(refusal);
    drop_headers(r, [](const ngx_table_elt_t&) { return false; });
    r->headers_out.content_encoding = nullptr;
    r->headers_out.status = static_cast<ngx_uint_t>(refusal_status(request.dialect, refusal));
    r->headers_out.status_line.len = 0;
    set_json_content_type(r);
    set_content_length(r, static_cast<off_t>(body_bytes));
    if (row.never_retry) add_header(r, "x-should-retry", "false");
    if (refusal == Refusal::overloaded) add_header(r, "retry-after", kOverloadedSeconds);
    if (refusal == Refusal::billing_unavailable) add_header(r, "retry-after", kBillingSeconds);
}

}  // namespace lumen

#include "ngx_lumen_module/cors.h"

#include <algorithm>

#include "ngx_lumen_module/catalogue_feed.h"
#include "ngx_lumen_module/refusal.h"
#include "ngx_lumen_module/request_headers.h"

namespace lumen {
namespace {

constexpr std::string_view kAnyOrigin = "*";
constexpr std::string_view kReadableHeaders =
    "x-request-id, request-id, retry-after, retry-after-ms, x-should-retry, x-lumen-balance, x-lumen-cost, "
    "x-lumen-endpoint, x-lumen-attempts, x-lumen-overhead-us, x-lumen-retry-at, x-ratelimit-limit-requests, "
    "x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, "
    "x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens";
/// A browser keeps the answer to a preflight no longer than two hours anyway.
constexpr std::string_view kPreflightSeconds = "7200";
constexpr std::size_t kMaxRequestedHeaders = 1024;

/// What Access-Control-Allow-Origin may say to this request; empty: nothing.
std::string_view allowed_origin(const ngx_http_request_t* r) noexcept {
    const auto catalogue = current_catalogue();
    if (!catalogue || catalogue->cors_origins.empty()) return {};
    const std::string_view origin = request_header(r, "origin");
    if (origin.empty()) return {};
    const auto& origins = catalogue->cors_origins;
    if (std::find(origins.begin(), origins.end(), kAnyOrigin) != origins.end()) return kAnyOrigin;
    return std::find(origins.begin(), origins.end(), origin) != origins.end() ? origin : std::string_view();
}

/// Names of headers, as a browser lists them; nothing else is repeated to it.
bool is_header_list(std::string_view text) noexcept {
    return text.size() <= kMaxRequestedHeaders && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                      c == '_' || c == ',' || c == ' ';
           });
}

}  // namespace

bool is_preflight(const ngx_http_request_t* r) noexcept {
    return r->method == NGX_HTTP_OPTIONS && !request_header(r, "access-control-request-method").empty() &&
           !allowed_origin(r).empty();
}

void answer_preflight(Request& request) {
    ngx_http_request_t* r = request.r;
    const std::string_view headers = request_header(r, "access-control-request-headers");
    add_header(r, "access-control-allow-methods", "GET, HEAD, POST");
    if (!headers.empty() && is_header_list(headers)) add_header(r, "access-control-allow-headers", headers);
    add_header(r, "access-control-max-age", kPreflightSeconds);
    request.stage = Stage::refused;  // answered by us, nothing held
    if (ngx_http_discard_request_body(r) != NGX_OK) r->keepalive = 0;
    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;
    ngx_http_finalize_request(r, ngx_http_send_header(r));
}

void add_cors_headers(ngx_http_request_t* r) {
    const std::string_view origin = allowed_origin(r);
    if (origin.empty()) return;
    add_header(r, "access-control-allow-origin", origin);
    add_header(r, "access-control-expose-headers", kReadableHeaders);
    if (origin != kAnyOrigin) add_header(r, "vary", "Origin");
}

}  // namespace lumen

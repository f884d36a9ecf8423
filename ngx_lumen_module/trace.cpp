#include "ngx_lumen_module/trace.h"

namespace lumen {
namespace {

/// Empty: none, several, or not a valid one.
std::string_view callers_traceparent(const ngx_http_request_t* r) noexcept {
    constexpr std::string_view kName = "traceparent";
    std::string_view found;
    int count = 0;
    for (const ngx_list_part_t* part = &r->headers_in.headers.part; part != nullptr; part = part->next) {
        const auto* headers = static_cast<const ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; ++i) {
            const ngx_table_elt_t& header = headers[i];
            if (header.key.len != kName.size() || ngx_memcmp(header.lowcase_key, kName.data(), kName.size()) != 0) {
                continue;
            }
            found = view(header.value);
            ++count;
        }
    }
    return count == 1 && is_traceparent(found) ? found : std::string_view();
}

}  // namespace

std::string_view traceparent_of(Request& request) noexcept {
    if (!request.traceparent.empty()) return request.traceparent;
    request.traceparent = callers_traceparent(request.r);
    if (request.traceparent.empty()) {
        request.own_traceparent = make_traceparent(request.id);
        request.traceparent = {request.own_traceparent.data(), request.own_traceparent.size()};
    }
    return request.traceparent;
}

}  // namespace lumen

#include "ngx_lumen_module/request_headers.h"

namespace lumen {
namespace {

/// Calls `take(value)` until it says false.
template <typename Take>
void each_of_name(const ngx_http_request_t* r, std::string_view lowercase_name, Take take) noexcept {
    for (const ngx_list_part_t* part = &r->headers_in.headers.part; part != nullptr; part = part->next) {
        const auto* headers = static_cast<const ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; ++i) {
            const ngx_table_elt_t& header = headers[i];
            const std::string_view name(reinterpret_cast<const char*>(header.lowcase_key), header.key.len);
            if (name == lowercase_name && !take(view(header.value))) return;
        }
    }
}

}  // namespace

std::string_view request_header(const ngx_http_request_t* r, std::string_view lowercase_name) noexcept {
    std::string_view found;
    each_of_name(r, lowercase_name, [&](std::string_view value) {
        found = value;
        return false;
    });
    return found;
}

std::size_t count_request_headers(const ngx_http_request_t* r, std::string_view lowercase_name) noexcept {
    std::size_t count = 0;
    each_of_name(r, lowercase_name, [&](std::string_view) {
        ++count;
        return true;
    });
    return count;
}

}  // namespace lumen

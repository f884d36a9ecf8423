// Headers of a request that nginx has no field for (T22). Names in lower case.
#pragma once

#include <cstddef>

#include "ngx_lumen_module/ngx.h"

namespace lumen {

/// The value of the first of that name; empty if there is none.
std::string_view request_header(const ngx_http_request_t* r, std::string_view lowercase_name) noexcept;
std::size_t count_request_headers(const ngx_http_request_t* r, std::string_view lowercase_name) noexcept;

}  // namespace lumen

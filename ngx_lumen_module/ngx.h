// The nginx headers, once, as C.
#pragma once

extern "C" {
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>
}

#include <string>
#include <string_view>

namespace lumen {

inline std::string_view view(const ngx_str_t& s) noexcept {
    return {reinterpret_cast<const char*>(s.data), s.len};
}

}  // namespace lumen

extern "C" ngx_module_t ngx_http_lumen_module;

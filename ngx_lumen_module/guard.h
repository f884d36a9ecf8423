// The edge between nginx and C++: no exception may leave a handler, or the worker aborts (T58).
#pragma once

#include <exception>
#include <utility>

#include "ngx_lumen_module/ngx.h"

namespace lumen {

/// Runs `body`; an exception is logged once and becomes `on_error`.
template <typename Result, typename Body>
Result guarded(ngx_log_t* log, const char* where, Result on_error, Body&& body) noexcept {
    try {
        return std::forward<Body>(body)();
    } catch (const std::exception& e) {
        ngx_log_error(NGX_LOG_ALERT, log, 0, "lumen: %s: %s", where, e.what());
    } catch (...) {
        ngx_log_error(NGX_LOG_ALERT, log, 0, "lumen: %s: unknown exception", where);
    }
    return on_error;
}

template <typename Body>
void guarded_void(ngx_log_t* log, const char* where, Body&& body) noexcept {
    guarded(log, where, 0, [&] {
        std::forward<Body>(body)();
        return 0;
    });
}

}  // namespace lumen

#include "ngx_lumen_module/request.h"

#include <openssl/rand.h>

#include <ctime>
#include <new>

#include "ngx_lumen_module/answer_state.h"
#include "ngx_lumen_module/balancer.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/kept_memory.h"
#include "ngx_lumen_module/settle.h"

namespace lumen {
namespace {

/// Requests that have ended: as many as a busy worker has at once.
constexpr std::size_t kKeptRequests = 256;
KeptMemory<sizeof(Request), kKeptRequests> kept_requests;

// The last that is done for a request, whatever became of it: nothing of ours may point to it any more, and its money
// is handed on (T27, T54).
void end_request(void* data) {
    auto* request = static_cast<Request*>(data);
    guarded_void(ngx_cycle->log, "end of request", [&] {
        detach(request->call);
        leave(request->admit_place);
        cancel(request->catalogue_wait);
        if (request->stage == Stage::admitting) {
            abandon_admit(*request);
        } else if (request->stage == Stage::running) {
            settle_request(*request);
        }
        release_endpoint(*request);
        cancel_renewals(*request);
    });
    request->~Request();
    kept_requests.give_back(request);
}

}  // namespace

Request* find_request(ngx_http_request_t* r) noexcept {
    auto* known = static_cast<Request*>(ngx_http_get_module_ctx(r, ngx_http_lumen_module));
    if (known != nullptr || !(r->internal || r->filter_finalize)) return known;
    // error_page and named locations clear the contexts; a subrequest shares the pool, but not the request (T19).
    for (ngx_pool_cleanup_t* cleanup = r->pool->cleanup; cleanup != nullptr; cleanup = cleanup->next) {
        if (cleanup->handler != end_request) continue;
        known = static_cast<Request*>(cleanup->data);
        return known->r == r ? known : nullptr;
    }
    return nullptr;
}

Request* make_request(ngx_http_request_t* r) {
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(r->pool, 0);
    if (cleanup == nullptr) return nullptr;
    // Beside the pool: in it a stream would need one more of the pool's blocks, which are far larger.
    auto* request = new (kept_requests.take()) Request;
    cleanup->data = request;
    request->r = r;
    request->dialect = dialect_of(r);
    cleanup->handler = end_request;
    request->id = new_request_id();
    request->began_us = monotonic_us();
    request->began_unix_ms = unix_ms();
    ngx_http_set_ctx(r, request, ngx_http_lumen_module);
    return request;
}

RequestId new_request_id() {
    // Drawn from OpenSSL in stock: one call makes the randomness of many ids.
    constexpr std::size_t kIdBytes = 10;
    constexpr std::size_t kStock = 64;
    static std::array<std::array<std::uint8_t, kIdBytes>, kStock> stock;
    static std::size_t left = 0;
    if (left == 0) {
        if (RAND_bytes(stock[0].data(), kIdBytes * kStock) != 1) throw std::bad_alloc();
        left = kStock;
    }
    return make_request_id(unix_ms(), stock[--left]);
}

Dialect dialect_of(const ngx_http_request_t* r) noexcept {
    const std::string_view path = view(r->uri);
    return path.substr(0, kApiRoot.size()) == kApiRoot ? dialect_of_path(path.substr(kApiRoot.size()))
                                                       : Dialect::openai;
}

std::int64_t monotonic_us() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1'000;
}

std::int64_t unix_ms() noexcept {
    const ngx_time_t* now = ngx_timeofday();
    return std::int64_t{now->sec} * 1'000 + static_cast<std::int64_t>(now->msec);
}

}  // namespace lumen

// The memory into which nginx reads a stream. nginx has one for as long as a stream is open, in which an endpoint's
// whole header must fit; but most of the time nothing is in it. So a stream gives it back once its first bytes are with
// the client, and from then on has one only from when something is to be read until the client has taken it.
#pragma once

#include "ngx_lumen_module/ngx.h"

namespace lumen {

class ReadBuffer {
 public:
    ReadBuffer() = default;
    ReadBuffer(const ReadBuffer&) = delete;
    ReadBuffer& operator=(const ReadBuffer&) = delete;
    /// With the request: until then nginx may still send from it.
    ~ReadBuffer();

    /// After bytes of a stream were passed on: puts itself between nginx and its reading. Safe to call again.
    void share(ngx_http_request_t* r);

 private:
    static void read(ngx_http_request_t* r, ngx_http_upstream_t* upstream) noexcept;
    void lend(ngx_http_upstream_t& upstream);
    void take_back(ngx_http_request_t* r, ngx_http_upstream_t& upstream) noexcept;

    ngx_http_upstream_handler_pt nginx_reads_ = nullptr;
    void* lent_ = nullptr;  ///< null: none, or nginx's own
};

}  // namespace lumen

// What goes on to the next filter: buffers of nginx's own as far as their bytes are what the client gets, and others
// with text that was rewritten. An input buffer is only given back to nginx once the output made of it is sent: so a
// slow client slows the endpoint down, and memory stays bounded (L22).
#pragma once

#include <string_view>
#include <vector>

#include "ngx_lumen_module/ngx.h"

namespace lumen {

class AnswerOutput {
 public:
    /// Text for the client, to be sent at once. `source`, if any, counts as consumed when this is sent.
    bool add_text(ngx_pool_t* pool, std::string_view text, ngx_buf_t* source) noexcept;
    /// Parts of what is in `buf`, in their order: it goes on with these bytes alone, to be sent at once.
    bool add_parts(ngx_pool_t* pool, ngx_buf_t& buf, const std::vector<std::string_view>& parts) noexcept;
    bool add_flush(ngx_pool_t* pool) noexcept;
    bool add_last(ngx_pool_t* pool) noexcept;
    /// Passes what was added to `next`, also if it is nothing, so that filters below can go on.
    ngx_int_t send(ngx_http_request_t* r, ngx_http_output_body_filter_pt next) noexcept;
    /// Gives everything up: the client is gone. What is added from here on is consumed at once, and takes no memory.
    void discard() noexcept;

 private:
    bool append(ngx_pool_t* pool, ngx_buf_t* buf) noexcept;
    ngx_buf_t* take_buffer(ngx_pool_t* pool, std::size_t bytes) noexcept;
    void reclaim(ngx_pool_t* pool) noexcept;

    ngx_chain_t* out_ = nullptr;   ///< added, not passed on yet
    ngx_chain_t* busy_ = nullptr;  ///< passed on, not sent yet
    ngx_chain_t* free_ = nullptr;  ///< sent: their memory is used again
    bool discarded_ = false;
};

/// Marks a buffer of nginx's as read.
void consume(ngx_buf_t& buf) noexcept;

}  // namespace lumen

// The header of an answer of an endpoint: what leaks is dropped, ours are added (spec/api.md §3).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Keeps only the endpoint's headers that say something about the content.
void drop_upstream_headers(ngx_http_request_t* r) noexcept;
/// x-lumen-balance, -endpoint, -attempts, -overhead-us.
void add_answer_headers(Request& request);
/// Turns the header into the one of a refusal whose body has `body_bytes`.
void make_refusal_header(Request& request, Refusal refusal, std::size_t body_bytes);
/// The length the client gets; `bytes` < 0: not known before.
void set_content_length(ngx_http_request_t* r, off_t bytes) noexcept;

}  // namespace lumen

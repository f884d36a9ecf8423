// How the body of each form of answer passes (answer_state.h). Each takes what nginx's body filters take; the upstream
// being cut shows as a flush after nginx has let go of its connection (T49).
#pragma once

#include "ngx_lumen_module/answer_state.h"

namespace lumen {

/// The filters below ours, as they were when ours was put on top of them.
struct NextFilters {
    ngx_http_output_header_filter_pt header;
    ngx_http_output_body_filter_pt body;
};
NextFilters& next_filters() noexcept;

/// nginx has finished with the endpoint, and not because the answer was complete.
bool upstream_was_cut(const Request& request, const ngx_buf_t& buf) noexcept;
std::string_view bytes_of(const ngx_buf_t& buf) noexcept;

// stream_answer.cpp
ngx_int_t pass_stream(Request& request, ngx_chain_t* in);
/// The hold has grown: gives out what waited.
ngx_int_t pass_waiting(Request& request);

// whole_answer.cpp
ngx_int_t pass_held(Request& request, ngx_chain_t* in);
ngx_int_t pass_long_json(Request& request, ngx_chain_t* in);
ngx_int_t pass_opaque(Request& request, ngx_chain_t* in);
ngx_int_t pass_refusal(Request& request, ngx_chain_t* in);

}  // namespace lumen

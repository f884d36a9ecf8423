// What all answers under /v1 have in common: x-request-id, what is left of rate limits, and the API's own envelope also
// for errors that nginx makes itself (400 for bad headers, 413, 502, 504 …; T18).
#pragma once

#include "ngx_lumen_module/ngx.h"

namespace lumen {

ngx_int_t answer_filter_init(ngx_conf_t* cf);

}  // namespace lumen

// The $lumen_… variables: for log_format, and for lumen_proxy.conf to build the upstream request from (design.md §4).
#pragma once

#include "ngx_lumen_module/ngx.h"

namespace lumen {

ngx_int_t add_variables(ngx_conf_t* cf);

}  // namespace lumen

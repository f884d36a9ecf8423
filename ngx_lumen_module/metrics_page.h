// /lumen/metrics: the counters as Prometheus text (spec/api.md §5).
#pragma once

#include "ngx_lumen_module/ngx.h"

namespace lumen {

/// Directive `lumen_metrics`: makes the location answer with the page.
char* metrics_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);

}  // namespace lumen

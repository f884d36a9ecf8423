// lumen_status: the gate at a glance, for people as HTML and for their scripts as JSON.
#pragma once

#include "ngx_lumen_module/ngx.h"

namespace lumen {

/// Directive `lumen_status`. HTML, or JSON where `Accept` asks for application/json.
char* status_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);

}  // namespace lumen

/* What nginx looks up in a dynamic module; nginx's own build generates the same (T5). */
#include <ngx_config.h>
#include <ngx_core.h>

#define LUMEN_PUBLIC __attribute__((visibility("default")))

extern ngx_module_t ngx_http_lumen_module;

LUMEN_PUBLIC ngx_module_t *ngx_modules[] = { &ngx_http_lumen_module, NULL };
LUMEN_PUBLIC char *ngx_module_names[] = { "ngx_http_lumen_module", NULL };
LUMEN_PUBLIC char *ngx_module_order[] = { "ngx_http_lumen_module", "ngx_http_copy_filter_module", NULL };

// The module as nginx sees it: directives, hooks, worker start and end.
#include <cstddef>

#include "ngx_lumen_module/admission.h"
#include "ngx_lumen_module/admit_queue.h"
#include "ngx_lumen_module/answer_filter.h"
#include "ngx_lumen_module/balancer.h"
#include "ngx_lumen_module/catalogue_feed.h"
#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/gate_report.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/live.h"
#include "ngx_lumen_module/metrics.h"
#include "ngx_lumen_module/metrics_page.h"
#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/request.h"
#include "ngx_lumen_module/settle.h"
#include "ngx_lumen_module/status_page.h"
#include "ngx_lumen_module/usage_filter.h"
#include "ngx_lumen_module/variables.h"

namespace lumen {
namespace {

constexpr ngx_uint_t kAnyLocation = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF;

ngx_command_t commands[] = {
    {ngx_string("lumen_zone"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE2 | NGX_CONF_TAKE3 | NGX_CONF_TAKE4, zone_directive,
     NGX_HTTP_MAIN_CONF_OFFSET, 0, nullptr},
    {ngx_string("lumen_redis"), NGX_HTTP_MAIN_CONF | NGX_CONF_1MORE, redis_directive, NGX_HTTP_MAIN_CONF_OFFSET, 0,
     nullptr},
    {ngx_string("lumen_secret_file"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE12, secret_file_directive,
     NGX_HTTP_MAIN_CONF_OFFSET, 0, nullptr},
    {ngx_string("lumen_balancer"), NGX_HTTP_UPS_CONF | NGX_CONF_NOARGS, balancer_directive, 0, 0, nullptr},
    {ngx_string("lumen"), kAnyLocation | NGX_CONF_FLAG, gate_directive, NGX_HTTP_LOC_CONF_OFFSET,
     offsetof(LocationConf, enabled), nullptr},
    {ngx_string("lumen_exhausted_status"), kAnyLocation | NGX_CONF_TAKE1, exhausted_status_directive,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("lumen_tries"), kAnyLocation | NGX_CONF_TAKE1, tries_directive, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("lumen_drain_aborted"), kAnyLocation | NGX_CONF_TAKE1, ngx_conf_set_msec_slot, NGX_HTTP_LOC_CONF_OFFSET,
     offsetof(LocationConf, drain_aborted_ms), nullptr},
    {ngx_string("lumen_metrics"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, metrics_directive, NGX_HTTP_LOC_CONF_OFFSET, 0,
     nullptr},
    {ngx_string("lumen_live"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS | NGX_CONF_TAKE1, live_directive,
     NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    {ngx_string("lumen_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, status_directive, NGX_HTTP_LOC_CONF_OFFSET, 0,
     nullptr},
    ngx_null_command,
};

// The access log has been written by now (T14); a request whose last buffer never came is settled here.
ngx_int_t on_log(ngx_http_request_t* r) noexcept {
    guarded_void(r->connection->log, "log phase", [&] {
        Request* request = find_request(r);
        if (request == nullptr) return;
        if (request->stage == Stage::running) settle_request(*request);
        if (request->stage == Stage::settling) count_request(*request);
    });
    return NGX_OK;
}

ngx_int_t add_handler(ngx_http_core_main_conf_t& core, ngx_http_phases phase, ngx_http_handler_pt handler) {
    auto* slot = static_cast<ngx_http_handler_pt*>(ngx_array_push(&core.phases[phase].handlers));
    if (slot == nullptr) return NGX_ERROR;
    *slot = handler;
    return NGX_OK;
}

ngx_int_t postconfiguration(ngx_conf_t* cf) {
    auto* conf = static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_lumen_module));
    if (!conf->configured) return NGX_OK;
    auto* core = static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    if (add_handler(*core, NGX_HTTP_PRECONTENT_PHASE, gate) != NGX_OK ||
        add_handler(*core, NGX_HTTP_LOG_PHASE, on_log) != NGX_OK) {
        return NGX_ERROR;
    }
    // The filter that comes last is asked first: error pages become JSON before usage is looked for.
    if (usage_filter_init(cf) != NGX_OK) return NGX_ERROR;
    return answer_filter_init(cf);
}

bool serves_requests(const ngx_cycle_t* cycle) noexcept {
    const MainConf* conf = main_conf(cycle);
    const bool worker = ngx_process == NGX_PROCESS_WORKER || ngx_process == NGX_PROCESS_SINGLE;
    return worker && conf != nullptr && conf->configured;
}

ngx_int_t init_process(ngx_cycle_t* cycle) {
    if (!serves_requests(cycle)) return NGX_OK;
    return guarded(cycle->log, "start of worker", ngx_int_t{NGX_ERROR}, [&]() -> ngx_int_t {
        if (redis_init_process(cycle) != NGX_OK) return NGX_ERROR;
        if (admit_queue_init(cycle) != NGX_OK) return NGX_ERROR;
        if (settle_init_process(cycle) != NGX_OK) return NGX_ERROR;
        if (live_init_process(cycle) != NGX_OK) return NGX_ERROR;
        gate_report_init(cycle);
        return catalogue_feed_init(cycle);
    });
}

void exit_process(ngx_cycle_t* cycle) {
    if (!serves_requests(cycle)) return;
    guarded_void(cycle->log, "end of worker", [&] {
        live_exit_process();
        settle_exit_process(cycle);
        redis_exit_process(cycle);
        admit_queue_exit();
    });
}

ngx_http_module_t context = {
    add_variables,      postconfiguration, create_main_conf,     init_main_conf,
    create_server_conf, merge_server_conf, create_location_conf, merge_location_conf,
};

}  // namespace
}  // namespace lumen

ngx_module_t ngx_http_lumen_module = {
    NGX_MODULE_V1,
    &lumen::context,
    lumen::commands,
    NGX_HTTP_MODULE,
    nullptr,  // init master
    nullptr,  // init module
    lumen::init_process,
    nullptr,  // init thread
    nullptr,  // exit thread
    lumen::exit_process,
    nullptr,  // exit master
    NGX_MODULE_V1_PADDING,
};

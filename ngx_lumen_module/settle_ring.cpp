#include "ngx_lumen_module/settle_ring.h"

#include <string>

#include "ngx_lumen_module/conf.h"

namespace lumen {
namespace {

/// The cycle whose configuration is being loaded: ngx_cycle is still the one before it when zones are made.
ngx_cycle_t* loading_cycle = nullptr;
RingFile* ring = nullptr;

std::string ring_path(const MainConf& conf) {
    return std::string(view(conf.ring_path));
}

}  // namespace

void configure_ring(ngx_conf_t* cf) noexcept {
    loading_cycle = cf->cycle;
}

ngx_int_t prepare_ring(ngx_log_t* log) {
    const MainConf* conf =
        loading_cycle != nullptr ? main_conf(static_cast<const ngx_cycle_t*>(loading_cycle)) : nullptr;
    if (conf == nullptr || conf->ring_path.len == 0) return NGX_OK;
    const auto* core = reinterpret_cast<ngx_core_conf_t*>(ngx_get_conf(loading_cycle->conf_ctx, ngx_core_module));
    const std::string error = prepare_ring_file(ring_path(*conf).c_str(), conf->ring_bytes,
                                                static_cast<uid_t>(core->user), static_cast<gid_t>(core->group));
    if (error.empty()) return NGX_OK;
    ngx_log_error(NGX_LOG_EMERG, log, 0, "lumen_zone ring=%s", error.c_str());
    return NGX_ERROR;
}

ngx_int_t open_ring(ngx_cycle_t* cycle) {
    const MainConf* conf = main_conf(static_cast<const ngx_cycle_t*>(cycle));
    if (conf == nullptr || conf->ring_path.len == 0) return NGX_OK;
    std::string error;
    std::unique_ptr<RingFile> opened = RingFile::open(ring_path(*conf).c_str(), error);
    if (opened != nullptr && !opened->claim_worker()) {
        error = ring_path(*conf) + ": more than " + std::to_string(kRingOwners) + " workers use it";
        opened.reset();
    }
    if (opened == nullptr) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "lumen_zone ring=%s; this worker answers billing_unavailable until nginx is restarted",
                      error.c_str());
        return NGX_ERROR;
    }
    // Not a static unique_ptr: its destructor would run after exit_process, in an order nobody chose (T59).
    ring = opened.release();
    return NGX_OK;
}

void close_ring() noexcept {
    delete ring;
    ring = nullptr;
}

RingFile* worker_ring() noexcept {
    return ring;
}

}  // namespace lumen

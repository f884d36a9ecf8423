// The file-backed ring that remembers every request from before its admit until its settle is safe (ledger.md 6.7).
// A slot is written by the worker that owns it; after a worker's death another one recovers its slots.
// This is the ring's place in nginx: where it is opened and found. What is in the file: ring_file.h.
#pragma once

#include "ngx_lumen_module/ngx.h"
#include "ngx_lumen_module/ring_file.h"

namespace lumen {

/// While a configuration is loaded: remembers which cycle it is for, as the zone's init is not told.
void configure_ring(ngx_conf_t* cf) noexcept;
/// In the master, with the shared zone: makes or checks the file. An error refuses this configuration.
ngx_int_t prepare_ring(ngx_log_t* log);

/// In a worker: maps the file and takes a worker's number there. NGX_ERROR: logged; requests get billing_unavailable.
ngx_int_t open_ring(ngx_cycle_t* cycle);
void close_ring() noexcept;
/// This worker's ring; null if it could not be opened.
RingFile* worker_ring() noexcept;

}  // namespace lumen

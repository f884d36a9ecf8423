// From admitted to acknowledged: progress, renewals, the settle itself, its repetition and its replay (ledger.md 6.7).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Worker start and end: opens this worker's share of the ring, recovers dead workers' slots, starts the timers; on
/// exit nothing is lost, because the ring has it.
ngx_int_t settle_init_process(ngx_cycle_t* cycle);
void settle_exit_process(ngx_cycle_t* cycle);

/// Before admit is sent: takes a ring slot in state ADMITTING. false: the ring is full → billing_unavailable.
bool reserve_slot(Request& request);
/// admit was refused for good (an answer that placed no hold): frees the slot.
void release_slot(Request& request);
/// No admit reply within the deadline, or the connection was lost: the hold may or may not be there. Voids it.
void abandon_admit(Request& request);
/// admit said OK: first renewal in 2 s, then every 20 s. The slot is RUNNING once an endpoint is about to be asked
/// (report_attempt): until then a worker that dies leaves a void either way (I5).
void begin_running(Request& request);
/// None follows any more.
void cancel_renewals(Request& request) noexcept;
/// Before an endpoint is asked: from here the slot is RUNNING, and names that endpoint.
void report_attempt(Request& request);
/// After each chunk: updates the local shadow in the ring, and renews early when the cost passes half the hold.
void report_progress(Request& request);
/// The end of the request, exactly once: computes the exact cost from request.metering, or voids it if nothing was sent
/// upstream; hands the slot to the settle queue. Safe to call again; called by the last buffer, the log phase and the
/// pool cleanup, whichever comes first.
void settle_request(Request& request);

/// What the answer has cost so far, or finally: the one call of lumen::cost() in the module.
NanoCoins cost_of(const Request& request) noexcept;
/// The hold for an admit: input estimate + a window of output (strict: the worst case). Kept within M.
NanoCoins hold_for(const Request& request) noexcept;

}  // namespace lumen

// GET /api/v1/me/events: a page's live view of its account, as server-sent events (design.md §3, spec/ui.md §5.3).
// Answered here, from Redis: nothing of it waits for admind. Needs the session cookie; everything else is refused.
//
// What a page gets (each `data:` is one JSON object; amounts are {"coins":"4.98","nano":"4980000000"}):
//
//   balance  {state, balance, held, free, limit, rate, next_refill_at, used, tokens, now}
//            the wallet as it stands: as /me's `budget`, and its `coins_used` and `tokens_used`. Absolute, so a lost
//            one does no harm. `state` is limited, unlimited, blocked or none; what means nothing in that state is
//            null. `rate` is coins an hour. `used` {coins,nano} and `tokens` {input,output,total} are the book's and
//            **null while they are not known here**: at the begin of a stream, and after a gap. Whenever they come as
//            null, what a page shows of the book (/me/profile) may be out of date: read it again then, once. So: open
//            the stream, wait for the first `balance`, load the profile, and after that apply what comes.
//   key      {id, requests, tokens, coins, last_used_at}: the counters of one key now, as in /me/keys. With an id alone
//            {id}: something else of the key changed (new, renamed, deleted): load the keys again
//   model    {model, status} or {model, access}: what changed of a row of /me/models. {}: load the models again
//   notice   {announcement} of the site: show it; empty: take it away; {}: read it again. Or of the wallet, when a
//            charge took it to a threshold: {notice: "low_balance" or "exhausted", id, balance, limit, at}
//
// `id:` (of balance events) names a state of the wallet. A browser that comes back with it as Last-Event-ID gets no
// `balance` if nothing changed. A comment comes every 15 s; a stream that is silent for 40 s is dead. At most 4 events
// a second; changes in between are drawn together. The stream ends when the session does (sign-out, expiry) or the
// account is deactivated (the next attempt is a 401), when rights change, and when nginx is reloaded (come back at
// once). Refusals are problem+json: 401 `unauthenticated`, 405 `method_not_allowed`, 503 `redis_unavailable` and
// `too_many_viewers`, both with Retry-After.
#pragma once

#include "ngx_lumen_module/ngx.h"

namespace lumen {

ngx_int_t live_init_process(ngx_cycle_t* cycle);
void live_exit_process() noexcept;

/// lumen_live [viewers=NUMBER], per worker.
char* live_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);

}  // namespace lumen

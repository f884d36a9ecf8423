-- Part: appends one event to a bucket's stream, as LedgerEvent in lumen_core/ledger_protocol.h reads it.
-- Expects readiness.lua, `now_ms`; {b}:meta and {b}:events come as keys, account and key as `17 4` or `17 -`. Money is text; an
-- event that has not something has `-` for it.
local at = format(' %d ', now_ms)
local function append_event(meta, events, kind, owner, delta, cost, balance, seq, lrh, request, opn, blob)
  local bseq = call('HINCRBY', meta, 'bseq', '1')
  call('XADD', events, format('%d-0', bseq), 'e', kind .. ' ' .. owner .. ' ' .. delta .. ' ' .. cost .. ' ' ..
    balance .. ' ' .. seq .. ' ' .. lrh .. at .. request .. ' ' .. opn .. ' ' .. blob)
end

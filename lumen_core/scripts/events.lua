-- Part: appends one event to the bucket's stream, as LedgerEvent in lumen_core/ledger_protocol.h reads it.
-- Expects `call`, `now_ms`, KEYS[1] = {b}:meta, and `events`, the stream's key. Money is text; an event that has not
-- something has `-` for it.
local function append_event(kind, account, key, delta, cost, balance, seq, lrh, request, opn, blob)
  local bseq = call('HINCRBY', KEYS[1], 'bseq', '1')
  call('XADD', events, string.format('%d-0', bseq), 'e', kind .. ' ' .. account .. ' ' .. key .. ' ' .. delta .. ' ' ..
    cost .. ' ' .. balance .. ' ' .. seq .. ' ' .. lrh .. ' ' .. string.format('%d', now_ms) .. ' ' .. request .. ' ' ..
    opn .. ' ' .. blob)
end

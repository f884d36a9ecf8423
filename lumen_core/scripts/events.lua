-- Part: appends one event to the bucket's stream, as LedgerEvent in lumen_core/ledger_protocol.h reads it. `-` = has none.
-- Expects `call`, `bseq`, `now_ms`, and `events`, the stream's key. All arguments are text, but seq, lrh, opn may be
-- numbers (they stay far below the 14 digits that `..` keeps).
local function append_event(kind, account, key, delta, cost, balance, seq, lrh, request, opn, blob)
  bseq = (bseq or 0) + 1
  call('XADD', events, bseq .. '-0', 'e', kind .. ' ' .. account .. ' ' .. key .. ' ' .. delta .. ' ' .. cost .. ' ' ..
    balance .. ' ' .. seq .. ' ' .. lrh .. ' ' .. now_ms .. ' ' .. request .. ' ' .. opn .. ' ' .. blob)
  call('HSET', KEYS[1], 'bseq', bseq)
end

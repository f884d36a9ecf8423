-- Part: appends one event to the bucket's stream, as LedgerEvent in lumen_core/ledger_protocol.h reads it. `-` = has none.
-- Expects `call`, `bseq`, `now_ms`, and `events`, the stream's key. Money is text; seq, lrh, opn may be numbers.
local function append_event(kind, account, key, delta, cost, balance, seq, lrh, request, opn, blob)
  local number = string.format('%d', (bseq or 0) + 1)
  call('XADD', events, number .. '-0', 'e', string.format('%s %s %s %s %s %s %s %s %d %s %s %s', kind, account, key,
    delta, cost, balance, seq, lrh, now_ms, request, opn, blob))
  call('HSET', KEYS[1], 'bseq', number)
  bseq = number
end

-- Part: credits the full hours since the wallet was last refilled: each once, never above its limit, never lowering
-- (I12).
-- Expects `call`, `M`, append_event(), and the keys `meta`, `of_account`, `events`. bal, lim, seq, lrh are text, hour a
-- number > lrh. Returns the new balance as text, or nil where nothing is due; `lrh` moves in either case.
local function refill_wallet(account, unlimited, bal, lim, rate, seq, lrh, hour)
  call('HSET', of_account, 'lrh', hour)
  if unlimited == '1' or lim == '' or rate == '0' then return nil end
  local room = tonumber(lim) - tonumber(bal)
  if room <= 0 then return nil end
  -- Two M at most: from there on `room` and the product may be off by one. Only a wallet below -M could notice.
  local delta = string.format('%.0f', math.min(room, (hour - lrh) * rate, 2 * M))
  call('HINCRBY', of_account, 'bal', delta)
  call('HSET', of_account, 'seq', seq + 1)
  local balance = call('HGET', of_account, 'bal')
  append_event(meta, events, 'refill', account .. ' -', delta, '0', balance, seq + 1, hour, '-', '-', '-')
  return balance
end

-- Part: replaces the hold by what was really used; settle and reap differ only in where the numbers come from.
-- Expects hold.lua's fields, KEYS 1 to 4, `request`, `kind` of the event or nil (void: nothing is charged), `cost`,
-- `used_tokens` (number, or nil: unknown), `blob`. Leaves `bal`, `held` as text.
-- A key that is gone (only after a loss) is left alone: a partial hash would pass for one without limits.
local bal, held, seq, nh, tpm, tt, lrh =
  unpack(call('HMGET', KEYS[2], 'bal', 'held', 'seq', 'nh', 'tpm', 'tt', 'lrh'))
local key_nh, key_tpm, key_tt, window_end, window_length =
  unpack(call('HMGET', KEYS[3], 'nh', 'tpm', 'tt', 'ce', 'cl'))

-- Token rates were charged with the estimate: correct by what it was off. The correction may reach into the past.
local function corrected(theoretical_us, per_minute)
  if not used_tokens or per_minute == '0' then return theoretical_us end
  local shift_us = math.floor((used_tokens - hold_tokens) * 60000000 / per_minute)
  return string.format('%.0f', math.max(0, theoretical_us + shift_us))
end

if kind and hold_limited == 'l' then
  -- The balance is never read as a number that could be off: beyond 2^53 HINCRBY's result is, and HGET is not.
  local balance = call('HINCRBY', KEYS[2], 'bal', negated(cost))
  bal = math.abs(balance) < 9007199254740992 and string.format('%d', balance) or call('HGET', KEYS[2], 'bal')
end
held = string.format('%d', held - hold_amount)
if kind then
  seq = string.format('%d', seq + 1)
  call('HSET', KEYS[2], 'held', held, 'nh', nh - 1, 'tt', corrected(tt, tpm), 'seq', seq)
else
  call('HSET', KEYS[2], 'held', held, 'nh', nh - 1)
end
if key_nh then
  call('HSET', KEYS[3], 'nh', key_nh - 1, 'tt', kind and corrected(key_tt, key_tpm) or key_tt)
  if hold_counted == 'c' then
    call('HINCRBY', KEYS[3], 'kh', negated(hold_amount))
    if kind then
      local window_end_ms = next_window_end(window_end, window_length)
      if window_end_ms then call('HSET', KEYS[3], 'cu', '0', 'ce', window_end_ms) end
      call('HINCRBY', KEYS[3], 'cu', cost)
    end
  end
end
call('HDEL', KEYS[4], request)
if kind then
  append_event(kind, account, key, hold_limited == 'l' and negated(cost) or '0', cost, bal, seq, lrh, request, '-', blob)
end

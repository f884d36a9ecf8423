-- Part: replaces the hold by what was really used; settle and reap differ only in where the numbers come from.
-- Expects hold.lua's fields, KEYS 1 to 4, `request`, `kind` of the event or nil (void: nothing is charged), `cost`,
-- `used_tokens` (number, or nil: unknown), `blob`. Leaves `bal`, `held` as text.
-- A key that is gone (only after a loss) is left alone: a partial hash would pass for one without limits.
local held, nh, seq, lrh, rates = unpack(call('HMGET', KEYS[2], 'held', 'nh', 'seq', 'lrh', 'rates'))
local key_nh, key_rates = unpack(call('HMGET', KEYS[3], 'nh', 'rates'))

-- Token rates were charged with the estimate: correct by what it was off. The correction may reach into the past.
-- Returns the scope's new time, or nil where there is nothing to correct.
local function corrected(hash, hash_rates)
  if not kind or not used_tokens or not hash_rates or hash_rates == '' then return nil end
  local per_minute = string.match(hash_rates, '^%d+ (%d+)')
  if per_minute == '0' then return nil end
  local shift_us = math.floor((used_tokens - hold_tokens) * 60000000 / per_minute)
  return string.format('%.0f', math.max(0, call('HGET', hash, 'tt') + shift_us))
end

-- All that could fail comes before the first write: an error keeps the writes before it, and a resent settle would
-- charge twice.
held, nh = string.format('%d', held - hold_amount), string.format('%d', nh - 1)
if kind then seq = string.format('%d', seq + 1) end  -- a void is no event
local tt, key_tt = corrected(KEYS[2], rates), corrected(KEYS[3], key_rates)
key_nh = key_nh and string.format('%d', key_nh - 1)

-- The balance is never read as a number that could be off: beyond 2^53 HINCRBY's result is, and HGET is not.
local bal = kind and hold_limited == 'l' and call('HINCRBY', KEYS[2], 'bal', negated(cost))
bal = bal and math.abs(bal) < 9007199254740992 and string.format('%d', bal) or call('HGET', KEYS[2], 'bal')
if tt then
  call('HSET', KEYS[2], 'held', held, 'nh', nh, 'seq', seq, 'tt', tt)
else
  call('HSET', KEYS[2], 'held', held, 'nh', nh, 'seq', seq)
end
if key_nh then
  call('HSET', KEYS[3], 'nh', key_nh)
  if key_tt then call('HSET', KEYS[3], 'tt', key_tt) end
  if hold_counted == 'c' then
    call('HINCRBY', KEYS[3], 'kh', negated(hold_amount))
    if kind then
      local window_end_ms = next_window_end(unpack(call('HMGET', KEYS[3], 'ce', 'cl')))
      if window_end_ms then call('HSET', KEYS[3], 'cu', '0', 'ce', window_end_ms) end
      call('HINCRBY', KEYS[3], 'cu', cost)
    end
  end
end
call('HDEL', KEYS[4], request)
if kind then
  local delta = hold_limited == 'l' and negated(cost) or '0'
  append_event(kind, account, key, delta, cost, bal, seq, lrh, request, '-', blob)
end

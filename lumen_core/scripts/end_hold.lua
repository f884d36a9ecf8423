-- Part: replaces the hold by what was really used; settle and reap differ only in where the numbers come from.
-- Expects amounts.lua, token_correction.lua, hold.lua's fields, the keys `meta`, `of_account`, `of_key`, `holds`,
-- `events`, and `request`, `owner`, `kind` of the event or nil (void: nothing is charged), `cost`, `used_tokens` (number,
-- or nil: unknown), `blob`. Leaves `bal`, `held` as text.
-- A key that is gone (only after a loss) is left alone: a partial hash would pass for one without limits.
local bal, held, nh, seq, lrh, limits =
  unpack(call('HMGET', of_account, 'bal', 'held', 'nh', 'seq', 'lrh', 'limits'))
local key_nh, key_limits = unpack(call('HMGET', of_key, 'nh', 'limits'))
local charged = kind and hold_limited == 'l'
local delta = charged and cost ~= '0' and '-' .. cost or '0'

-- All that could fail comes before the first write: an error keeps the writes before it, and a resent settle would
-- charge twice.
held, nh = string.format('%d', held - hold_amount), string.format('%d', nh - 1)
key_nh = key_nh and string.format('%d', key_nh - 1)
if kind then seq = string.format('%d', seq + 1) end  -- a void is no event
local new_limits, new_key_limits
if kind and used_tokens and (limits or key_limits) then
  new_limits = corrected(limits, used_tokens, hold_tokens)
  new_key_limits = corrected(key_limits, used_tokens, hold_tokens)
end
-- Up to M the balance is a number, and so is what is left of it; beyond, only HINCRBY and HGET are exact.
local exact = math.abs(bal) <= M
if exact and charged then bal = string.format('%d', bal - cost) end

if exact and new_limits then
  call('HSET', of_account, 'bal', bal, 'held', held, 'nh', nh, 'seq', seq, 'limits', new_limits)
elseif exact then
  call('HSET', of_account, 'bal', bal, 'held', held, 'nh', nh, 'seq', seq)
else
  call('HSET', of_account, 'held', held, 'nh', nh, 'seq', seq)
  call('HINCRBY', of_account, 'bal', delta)
  bal = call('HGET', of_account, 'bal')
end
if not exact and new_limits then call('HSET', of_account, 'limits', new_limits) end
if key_nh then
  if new_key_limits then
    call('HSET', of_key, 'nh', key_nh, 'limits', new_key_limits)
  else
    call('HSET', of_key, 'nh', key_nh)
  end
  if hold_counted == 'c' then
    call('HINCRBY', of_key, 'kh', hold_amount == '0' and '0' or '-' .. hold_amount)
    if kind then
      local window_end_ms = next_window_end(unpack(call('HMGET', of_key, 'ce', 'cl')))
      if window_end_ms then call('HSET', of_key, 'cu', '0', 'ce', window_end_ms) end
      call('HINCRBY', of_key, 'cu', cost)
    end
  end
end
call('HDEL', holds, request)
if kind then append_event(meta, events, kind, owner, delta, cost, bal, seq, lrh, request, '-', blob) end

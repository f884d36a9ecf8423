-- Part: replaces the hold by what was really used; settle and reap differ only in where the numbers come from.
-- Expects amounts.lua, token_correction.lua, hold.lua's fields, the keys `meta`, `of_account`, `of_key`, `holds`, `tag`,
-- ONE_LESS, and `request`, `owner`, `kind` of the event or nil (void: nothing is charged), `cost` as text, `price` the same
-- as a number, `used_tokens` (text, or nil: unknown), `blob`. Leaves `bal`, `held` as text.
local bal, held, nh, seq, lrh, limits =
  unpack(call('HMGET', of_account, 'bal', 'held', 'nh', 'seq', 'lrh', 'limits'))
local key_limits = call('HGET', of_key, 'limits')
local charged = kind and hold_limited
local delta = charged and cost ~= '0' and '-' .. cost or '0'

-- All that could fail comes before the first write, or is it: an error keeps the writes before it, and a resent settle
-- would charge twice.
held = held == hold_amount and '0' or format('%d', held - hold_amount)
nh = ONE_LESS[nh] or format('%d', nh - 1)
if kind then seq = format('%d', seq + 1) end  -- a void is no event
local new_limits, new_key_limits
if (limits or key_limits) and kind and used_tokens then
  local tokens_off = used_tokens - match(hold, '^%d+', tokens_at)
  new_limits = limits and corrected(limits, tokens_off)
  new_key_limits = key_limits and corrected(key_limits, tokens_off)
end
-- Up to M the balance is a number, and so is what is left of it; beyond, only HINCRBY and HGET are exact.
local balance = bal + 0
local exact = balance <= M and balance >= -M
if exact and charged then bal = format('%d', balance - price) end

-- A key that is gone (only after a loss) is left alone: a partial hash would pass for one without limits.
local key_stands = call('HINCRBY', of_key, 'nh', '-1') >= 0 or call('HGET', of_key, 'acct')
if not key_stands then call('HDEL', of_key, 'nh') end
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
if key_stands then
  if new_key_limits then call('HSET', of_key, 'limits', new_key_limits) end
  if hold_counted then
    call('HINCRBY', of_key, 'kh', hold_amount == '0' and '0' or '-' .. hold_amount)
    if kind then
      local window_end_ms = next_window_end(unpack(call('HMGET', of_key, 'ce', 'cl')))
      if window_end_ms then call('HSET', of_key, 'cu', '0', 'ce', window_end_ms) end
      call('HINCRBY', of_key, 'cu', cost)
    end
  end
end
call('HDEL', holds, request)
if kind then append_event(meta, tag .. ':events', kind, owner, delta, cost, bal, seq, lrh, request, '-', blob) end

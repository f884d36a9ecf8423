#!lua
-- refill: credits accounts of one bucket with the hours since their last refill. Repeats and older hours change nothing
-- (I12). Several in a call: the call itself, the replid and the clock cost as much as crediting one does.
-- KEYS  1 {b}:meta  2 {b}:events  3 and on: accounts
-- ARGV  1 hour (Unix hours; empty: by the server's clock)
-- Replies  for each account a line: OK | SAME | FULL (nothing due, the hour is ticked off) | NOACCT | RANGE | NOTREADY
-- @include readiness.lua
local meta, events, of_account = KEYS[1], KEYS[2], nil
local ready = is_ready(call('HGET', meta, 'ready'))
-- @include clock.lua
-- @include amounts.lua
-- @include events.lua
-- @include refill_wallet.lua
local hour
if ARGV[1] == '' then hour = math.floor(now_ms / 3600000) else hour = amount(ARGV[1]) end

local function refill()
  if not ready then return 'NOTREADY' end
  if not hour then return 'RANGE' end
  local state, unlimited, bal, lim, rate, seq, lrh =
    unpack(call('HMGET', of_account, 'st', 'unl', 'bal', 'lim', 'rate', 'seq', 'lrh'))
  if not state then return 'NOACCT' end
  if hour <= tonumber(lrh) then return 'SAME' end
  local account = string.sub(of_account, 10)  -- behind {bNNN}:a:
  return refill_wallet(account, unlimited, bal, lim, rate, seq, lrh, hour) and 'OK' or 'FULL'
end

local replies = {}
for i = 3, #KEYS do
  of_account = KEYS[i]
  replies[i - 2] = refill()
end
return table.concat(replies, '\n')

#!lua flags=allow-oom
-- renew: prolongs a running request's hold and notes its cost so far (the shadow, charged if it is reaped).
-- KEYS  1 account  2 key
-- ARGV  1 request  2 account and key  3 amount the hold should be  4 shadow  5 ttl ms
-- Replies  OK bal account_state | REFUSED (strict, the increase exceeds what is free; shadow and deadline are noted) |
--          GONE | RANGE | NOTREADY
-- @include readiness.lua
local of_account, of_key = unpack(KEYS)
-- @include bucket.lua
-- @include clock.lua
-- @include amounts.lua
local request, owner, wanted, shadow, ttl_ms = unpack(ARGV)
local wanted_amount = amount(wanted)
if not wanted_amount or not amount(shadow) or not amount(ttl_ms) then return 'RANGE' end
local hold = call('HGET', holds, request)
if not hold then return 'GONE' end
-- @include hold.lua
local bal, held, mode, state = unpack(call('HMGET', of_account, 'bal', 'held', 'mode', 'st'))
local increase = wanted_amount - hold_amount
if held + increase > M then return 'RANGE' end
local refused = increase > 0 and mode == '1' and hold_limited and increase > bal - held
if refused then wanted, increase = hold_amount, 0 end
if increase ~= 0 then
  local change = string.format('%.0f', increase)
  call('HINCRBY', of_account, 'held', change)
  if hold_counted then call('HINCRBY', of_key, 'kh', change) end
end
local _, _, unchanged = string.find(hold, '^%d+ %d+ %d+ (.*)$')
call('HSET', holds, request, wanted .. ' ' .. shadow .. ' ' .. now_ms + ttl_ms .. ' ' .. unchanged)
if refused then return 'REFUSED' end
return 'OK ' .. bal .. ' ' .. state

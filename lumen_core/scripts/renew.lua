#!lua flags=allow-oom
-- renew: prolongs a running request's hold and notes its cost so far (the shadow, charged if it is reaped).
-- KEYS  1 {b}:meta  2 account  3 key  4 {b}:holds
-- ARGV  1 request  2 account  3 key  4 amount the hold should be  5 shadow  6 ttl ms
-- Replies  OK bal account_state | REFUSED (strict, the increase exceeds what is free; shadow and deadline are noted) |
--          GONE | RANGE | NOTREADY
-- @include readiness.lua
if not is_ready then return 'NOTREADY' end
-- @include clock.lua
-- @include amounts.lua
local request, account, key, wanted, shadow, ttl_ms = unpack(ARGV)
local wanted_amount = amount(wanted)
if not wanted_amount or not amount(shadow) or not is_count(tonumber(ttl_ms)) then return 'RANGE' end
local hold = call('HGET', KEYS[4], request)
if not hold then return 'GONE' end
-- @include hold.lua
local bal, held, mode, state = unpack(call('HMGET', KEYS[2], 'bal', 'held', 'mode', 'st'))
local increase = wanted_amount - hold_amount
if held + increase > M then return 'RANGE' end
local refused = increase > 0 and mode == '1' and hold_limited == 'l' and increase > bal - held
if refused then wanted, increase = hold_amount, 0 end
if increase ~= 0 then
  local change = string.format('%.0f', increase)
  call('HINCRBY', KEYS[2], 'held', change)
  if hold_counted == 'c' then call('HINCRBY', KEYS[3], 'kh', change) end
end
call('HSET', KEYS[4], request, wanted .. ' ' .. shadow .. ' ' .. now_ms + ttl_ms .. ' ' .. hold_limited ..
  hold_counted .. ' ' .. account .. ' ' .. key .. ' ' .. hold_tokens .. ' ' .. hold_blob)
if refused then return 'REFUSED' end
return 'OK ' .. bal .. ' ' .. state

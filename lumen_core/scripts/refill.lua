#!lua
-- refill: credits an account with the hours since its last refill. Repeats and older hours change nothing (I12).
-- KEYS  1 {b}:meta  2 account  3 {b}:events
-- ARGV  1 account  2 hour (Unix hours; empty: by the server's clock)
-- Replies  OK | SAME | FULL (nothing due, the hour is ticked off) | NOACCT | RANGE | NOTREADY
-- @include readiness.lua
local meta, of_account, events = unpack(KEYS)
if not is_ready(call('HGET', meta, 'ready')) then return 'NOTREADY' end
-- @include clock.lua
-- @include amounts.lua
-- @include events.lua
-- @include refill_wallet.lua
local account, hour = ARGV[1], ARGV[2]
if hour == '' then hour = math.floor(now_ms / 3600000) else hour = amount(hour) end
if not hour then return 'RANGE' end
local state, unlimited, bal, lim, rate, seq, lrh =
  unpack(call('HMGET', of_account, 'st', 'unl', 'bal', 'lim', 'rate', 'seq', 'lrh'))
if not state then return 'NOACCT' end
if hour <= tonumber(lrh) then return 'SAME' end
return refill_wallet(account, unlimited, bal, lim, rate, seq, lrh, hour) and 'OK' or 'FULL'

#!lua flags=allow-oom
-- reap: ends a hold whose deadline passed, charging its shadow. The id does not become "done": a settle that comes yet
-- is LATE, and the book charges the difference.
-- KEYS  1 {b}:meta  2 account  3 key  4 {b}:holds  5 {b}:events
-- ARGV  1 request  2 account  3 key
-- Replies  OK bal held | GONE | NOTYET | RANGE | NOTREADY
-- @include readiness.lua
if not is_ready then return 'NOTREADY' end
-- @include clock.lua
-- @include amounts.lua
local events = KEYS[5]
-- @include events.lua
-- @include key_window.lua
local request, account, key = unpack(ARGV)
local hold = call('HGET', KEYS[4], request)
if not hold then return 'GONE' end
-- @include hold.lua
if now_ms < tonumber(hold_deadline_ms) then return 'NOTYET' end
local kind, cost, used_tokens, blob = 'reap', hold_shadow, nil, hold_blob
-- @include end_hold.lua
return 'OK ' .. bal .. ' ' .. held

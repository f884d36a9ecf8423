#!lua flags=allow-oom
-- reap: ends a hold whose deadline passed, charging its shadow. The id does not become "done": a settle that comes yet
-- is LATE, and the book charges the difference.
-- KEYS  1 account  2 key
-- ARGV  1 request  2 account and key
-- Replies  OK bal held | GONE | NOTYET | RANGE | NOTREADY
-- @include readiness.lua
local of_account, of_key = unpack(KEYS)
-- @include bucket.lua
-- @include clock.lua
-- @include amounts.lua
-- @include events.lua
-- @include key_window.lua
-- @include limits.lua
-- @include token_correction.lua
-- @include one_less.lua
local request, owner = unpack(ARGV)
local hold = call('HGET', holds, request)
if not hold then return 'GONE' end
-- @include hold.lua
local shadow, deadline_ms, hold_blob = string.match(hold, '^%d+ (%d+) (%d+) %a+ %d+ %d+ %d+ (.*)$')
if now_ms < tonumber(deadline_ms) then return 'NOTYET' end
local kind, cost, price, used_tokens, blob = 'reap', shadow, shadow + 0, nil, hold_blob
-- @include end_hold.lua
return 'OK ' .. bal .. ' ' .. held

#!lua flags=allow-oom
-- settle: replaces a request's hold by what it cost; with ev = 0 (void: it reached no model) by nothing.
-- Runs also when Redis is full: money that was earned must be booked.
-- KEYS  1 {b}:meta  2 account  3 key  4 {b}:holds  5 {b}:events  6 {b}:done0  7 {b}:done1
-- ARGV  1 request  2 account  3 key  4 cost  5 tokens used  6 ev: 1, or 0 for a void  7 blob
-- Replies  OK bal held token | DUP token | NONE token (void of nothing) | LATE token (reaped or lost: the book decides)
--          RANGE | NOTREADY
-- @include readiness.lua
if not is_ready then return 'NOTREADY' end
-- @include clock.lua
-- @include amounts.lua
local events = KEYS[5]
-- @include events.lua
-- @include key_window.lua
local request, account, key, cost, tokens, ev, blob = unpack(ARGV)
local used_tokens = tonumber(tokens)
if not amount(cost) or not is_count(used_tokens) or ev ~= '0' and ev ~= '1' then return 'RANGE' end

-- Settled ids are remembered for 10 to 20 minutes: two sets, the older one is dropped whole.
local function remember()
  if now_ms - (call('HGET', KEYS[1], 'rot') or 0) > 600000 then
    if call('EXISTS', KEYS[6]) == 1 then call('RENAME', KEYS[6], KEYS[7]) end
    call('HSET', KEYS[1], 'rot', now_ms)
  end
  call('SADD', KEYS[6], request)
end

local hold = call('HGET', KEYS[4], request)
if not hold then
  if call('SISMEMBER', KEYS[6], request) == 1 or call('SISMEMBER', KEYS[7], request) == 1 then
    call('HINCRBY', KEYS[1], 'dups', 1)
    return 'DUP ' .. ready
  end
  remember()
  if ev == '0' then return 'NONE ' .. ready end
  local lrh = call('HGET', KEYS[2], 'lrh') or '-'
  append_event('late', account, key, '0', cost, '-', '-', lrh, request, '-', blob)
  return 'LATE ' .. ready
end
-- @include hold.lua
local kind = ev == '1' and 'usage' or nil
-- @include end_hold.lua
remember()
return 'OK ' .. bal .. ' ' .. held .. ' ' .. ready

#!lua flags=allow-oom
-- settle: replaces requests' holds by what they cost; a void (it reached no model) by nothing.
-- Takes one settle or several of whatever buckets (in Redis Cluster: of one), one after the other: the call itself, the
-- replid and the clock cost as much as booking does. Runs also when Redis is full: money that was earned must be booked.
-- KEYS  for each settle  1 {b}:meta  2 account  3 key; its other keys are of the same bucket, and each argument costs
-- ARGV  for each settle  1 request  2 account and key  3 cost, or - for a void  4 tokens used  5 blob
-- Replies  for each settle a line: OK bal held token | DUP token | NONE token (void of nothing) |
--          LATE token (reaped or lost: the book decides) | RANGE | NOTREADY
-- @include readiness.lua
-- @include clock.lua
-- @include amounts.lua
-- @include events.lua
-- @include key_window.lua
-- @include limits.lua
-- @include token_correction.lua
local KEYS_EACH, ARGV_EACH = 3, 5

-- Settled ids are remembered for 10 to 20 minutes: two sets, the older one is dropped whole.
local function remember(request, meta, rotated_ms, done0, done1)
  if now_ms - (rotated_ms or 0) > 600000 then
    if call('EXISTS', done0) == 1 then call('RENAME', done0, done1) end
    call('HSET', meta, 'rot', now_ms)
  end
  call('SADD', done0, request)
end

local function settle(meta, of_account, of_key, request, owner, cost, tokens, blob)
  local ready, rotated_ms = unpack(call('HMGET', meta, 'ready', 'rot'))
  if not is_ready(ready) then return 'NOTREADY' end
-- @include bucket_keys.lua
  local kind = cost ~= '-' and 'usage' or nil
  local used_tokens = tonumber(tokens)
  if kind and not amount(cost) or not is_count(used_tokens) then return 'RANGE' end

  local hold = call('HGET', holds, request)
  if not hold then
    if call('SISMEMBER', done0, request) == 1 or call('SISMEMBER', done1, request) == 1 then
      call('HINCRBY', meta, 'dups', 1)
      return 'DUP ' .. ready
    end
    remember(request, meta, rotated_ms, done0, done1)
    if not kind then return 'NONE ' .. ready end
    local lrh = call('HGET', of_account, 'lrh') or '-'
    append_event(meta, events, 'late', owner, '0', cost, '-', '-', lrh, request, '-', blob)
    return 'LATE ' .. ready
  end
-- @include hold.lua
-- @include end_hold.lua
  remember(request, meta, rotated_ms, done0, done1)
  return 'OK ' .. bal .. ' ' .. held .. ' ' .. ready
end

local replies = {}
for i = 0, #KEYS / KEYS_EACH - 1 do
  local meta, of_account, of_key = unpack(KEYS, i * KEYS_EACH + 1, (i + 1) * KEYS_EACH)
  replies[i + 1] = settle(meta, of_account, of_key, unpack(ARGV, i * ARGV_EACH + 1, (i + 1) * ARGV_EACH))
end
return table.concat(replies, '\n')

#!lua flags=allow-oom
-- settle: replaces requests' holds by what they cost; a void (it reached no model) by nothing.
-- Takes one settle or several of whatever buckets (in Redis Cluster: of one), one after the other: the call itself, the
-- replid and the clock cost as much as booking does. Runs also when Redis is full: money that was earned must be booked.
-- KEYS  for each settle  1 account  2 key; its other keys are of the same bucket, and each argument costs
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
-- @include one_less.lua
local KEYS_EACH, ARGV_EACH = 2, 5
local keys, arguments = KEYS, ARGV
local count = #keys / KEYS_EACH

-- Settled ids are remembered for 10 to 20 minutes: two sets, the older one is dropped whole. One settle of a call looks
-- whether it is time, by turns: where many are settled that is often enough, and where few are, each is alone in its call.
local looks = now_us % count
local function remember(request, meta, tag, looks_at_age)
  local done0 = tag .. ':done0'
  if looks_at_age and now_ms - (call('HGET', meta, 'rot') or 0) > 600000 then
    if call('EXISTS', done0) == 1 then call('RENAME', done0, tag .. ':done1') end
    call('HSET', meta, 'rot', now_ms)
  end
  call('SADD', done0, request)
end

local function settle(looks_at_age, of_account, of_key, request, owner, cost, used_tokens, blob)
-- @include bucket.lua
  local kind = cost ~= '-' and 'usage' or nil
  local price = kind and amount(cost)
  if kind and not price then return 'RANGE' end

  local hold = call('HGET', holds, request)
  if not hold then
    if call('SISMEMBER', tag .. ':done0', request) == 1 or call('SISMEMBER', tag .. ':done1', request) == 1 then
      call('HINCRBY', meta, 'dups', 1)
      return 'DUP ' .. ready
    end
    remember(request, meta, tag, looks_at_age)
    if not kind then return 'NONE ' .. ready end
    local lrh = call('HGET', of_account, 'lrh') or '-'
    append_event(meta, tag .. ':events', 'late', owner, '0', cost, '-', '-', lrh, request, '-', blob)
    return 'LATE ' .. ready
  end
-- @include hold.lua
-- @include end_hold.lua
  remember(request, meta, tag, looks_at_age)
  return 'OK ' .. bal .. ' ' .. held .. ' ' .. ready
end

local replies = {}
for i = 0, count - 1 do
  local keys_at, argv_at = i * KEYS_EACH, i * ARGV_EACH
  replies[i + 1] = settle(i == looks, keys[keys_at + 1], keys[keys_at + 2], arguments[argv_at + 1],
    arguments[argv_at + 2], arguments[argv_at + 3], arguments[argv_at + 4], arguments[argv_at + 5])
end
return table.concat(replies, '\n')

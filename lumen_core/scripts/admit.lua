#!lua
-- admit: takes a hold for one request, or says why not. The tests are numbered as in ledger.md §4; the first that
-- fails answers. A refusal from test 2 on (but not 3) changes only the key's `last`, and a refill or a window that was
-- due. Parts that few requests need are taken in where they do: each function made costs as much as a small command.
-- KEYS  1 {b}:meta  2 account  3 key; its other keys are of the same bucket, and each argument costs
-- ARGV  1 request  2 policies believed: account's and key's  3 hold  4 ttl ms
--       5 account, key, estimated tokens and blob, as the hold has them  if consent is needed also:
--       6 consent field  7 notice version
-- Replies  OK bal held unlimited requests tokens [again] | NOKEY | REVOKED | EXPIRED | NOACCT | DISABLED |
--          POLICY account's key's | CONSENT | GONE | RANGE | NOBUDGET | COINS bal held lim rate | NEVER | HELD |
--          KEYCAP cap used end | CONC | TOOLARGE | RPM wait_us requests tokens | TPM wait_us requests tokens | NOTREADY
--          where requests and tokens are limit/remaining/reset_us of the narrowest rate, or -
-- @include readiness.lua
local meta, of_account, of_key = unpack(KEYS)
if not is_ready(call('HGET', meta, 'ready')) then return 'NOTREADY' end
-- @include clock.lua
-- @include amounts.lua
-- @include bucket_keys.lua
local request, policies, hold, ttl_ms, rest_of_hold, consent_field, notice_version = unpack(ARGV)
local account, tokens = string.match(rest_of_hold, '^(%d+) %d+ (%d+) ')
local bal, held, nh, state, pol, lim, mode, unlimited, limits =
  unpack(call('HMGET', of_account, 'bal', 'held', 'nh', 'st', 'pol', 'lim', 'mode', 'unl', 'limits'))
local key_account, key_nh, key_state, key_expires_ms, key_pol, cap, key_limits =
  unpack(call('HMGET', of_key, 'acct', 'nh', 'st', 'exp', 'pol', 'cap', 'limits'))

-- 1, 2, 3
-- @include identity.lua
local function refuse(reply)
  call('HSET', of_key, 'last', now_ms)
  return reply
end

-- 4
if consent_field then
  local consented = call('HGET', of_account, consent_field)
  if not consented or tonumber(consented) < tonumber(notice_version) then return refuse('CONSENT') end
end

-- 5
local standing = call('HGET', holds, request)
if standing then
  if string.match(standing, '^%d+ %d+ %d+ %a+ (%d+ %d+) ') ~= string.match(rest_of_hold, '^%d+ %d+') then
    return refuse('RANGE')
  end
-- @include limits.lua
-- @include take_rates.lua
  return 'OK ' .. bal .. ' ' .. held .. ' ' .. unlimited .. ' ' .. standing_rates() .. ' again'
end
if call('SISMEMBER', done0, request) == 1 or call('SISMEMBER', done1, request) == 1 then return refuse('GONE') end

-- 6
local need, now_held, now_bal = amount(hold), tonumber(held), tonumber(bal)
ttl_ms = tonumber(ttl_ms)
if not need or now_held + need > M or math.abs(now_bal) > M or #tokens > 15 or not is_count(ttl_ms) then
  return refuse('RANGE')
end

-- 7 to 10
local strict = mode == '1'
if unlimited ~= '1' then
  if lim == '' then return refuse('NOBUDGET') end
  local enough = strict and need or 1
  if lim == '0' or now_bal <= 0 or now_bal - now_held < enough then
    local rate, seq, lrh = unpack(call('HMGET', of_account, 'rate', 'seq', 'lrh'))
    local hour = math.floor(now_ms / 3600000)
    if lim ~= '0' and hour > tonumber(lrh) then
-- @include events.lua
-- @include refill_wallet.lua
      bal = refill_wallet(account, unlimited, bal, lim, rate, seq, lrh, hour) or bal
      now_bal = tonumber(bal)
    end
    local fits = lim ~= '0' and now_bal > 0 and now_bal - now_held >= enough
    if not fits then
      if strict and lim ~= '0' and need > math.max(tonumber(lim), now_bal) then return refuse('NEVER') end
      if now_bal > 0 and lim ~= '0' and (not strict or now_bal >= need) then return refuse('HELD') end
      return refuse('COINS ' .. bal .. ' ' .. held .. ' ' .. lim .. ' ' .. rate)
    end
  end
end

-- 11
local counted = cap and cap ~= ''
if counted then
-- @include key_window.lua
  local used, key_held, window_end, window_length = unpack(call('HMGET', of_key, 'cu', 'kh', 'ce', 'cl'))
  local new_end = next_window_end(window_end, window_length)
  if new_end then
    call('HSET', of_key, 'cu', '0', 'ce', new_end)
    used, window_end = '0', new_end
  end
  -- Two terms on each side: three could pass 2^53.
  local room = tonumber(cap) - used
  if tonumber(key_held) + need > M then return refuse('RANGE') end
  if strict and key_held + need > room or not strict and tonumber(key_held) >= room then
    return refuse('KEYCAP ' .. cap .. ' ' .. used .. ' ' .. window_end)
  end
end

-- 12, 13
local left = '- -'
if limits or key_limits then
-- @include limits.lua
-- @include take_rates.lua
  local scopes = unpack_scopes()
  local function too_many(scope, in_flight)
    return scope and scope[CONCURRENCY] > 0 and tonumber(in_flight) >= scope[CONCURRENCY]
  end
  if too_many(scopes[1], nh) or too_many(scopes[2], key_nh) then return refuse('CONC') end
  local requests_wait_us, requests = take(scopes, REQUESTS, 1)
  local tokens_wait_us, tokens_left = take(scopes, TOKENS, tonumber(tokens))
  if not tokens_wait_us then return refuse('TOOLARGE') end
  -- The longest wait of all: after it, all of them let this request pass.
  local wait_us = math.max(requests_wait_us, tokens_wait_us)
  if wait_us > 0 then
    return refuse((requests_wait_us > 0 and 'RPM ' or 'TPM ') .. string.format('%.0f ', wait_us) .. standing_rates())
  end
  left = requests .. ' ' .. tokens_left
  limits, key_limits = limits and pack_limits(scopes[1]), key_limits and pack_limits(scopes[2])
end

-- `held` never passes M, so its sum is exact as a number; one write a hash is cheaper than two, and so is a number that
-- is made text here.
held = string.format('%d', now_held + need)
nh, key_nh = string.format('%d', nh + 1), string.format('%d', key_nh + 1)
if limits then
  call('HSET', of_account, 'held', held, 'nh', nh, 'limits', limits)
else
  call('HSET', of_account, 'held', held, 'nh', nh)
end
local last = string.format('%d', now_ms)
if key_limits then
  call('HSET', of_key, 'nh', key_nh, 'last', last, 'limits', key_limits)
else
  call('HSET', of_key, 'nh', key_nh, 'last', last)
end
if counted then call('HINCRBY', of_key, 'kh', hold) end
call('HSET', holds, request, hold .. string.format(' 0 %d ', now_ms + ttl_ms) .. (unlimited == '1' and 'u' or 'l') ..
  (counted and 'c ' or 'n ') .. rest_of_hold)
return 'OK ' .. bal .. ' ' .. held .. ' ' .. unlimited .. ' ' .. left

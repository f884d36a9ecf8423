#!lua
-- admit: takes holds for requests, or says why not. The tests are numbered as in ledger.md §4; the first that fails
-- answers. A refusal from test 2 on (but not 3) changes only the key's `last`, and a refill or a window that was due.
-- Takes one request or several of whatever buckets (in Redis Cluster: of one), one after the other: the call itself,
-- the replid and the clock cost half as much as a hold does. Parts that few requests need are taken in where they do:
-- each function made costs as much as a small command.
-- KEYS  for each request  1 {b}:meta  2 account  3 key; its other keys are of the same bucket, and each argument costs
-- ARGV  1 ttl ms of the holds; then for each request  1 request  2 policies believed: account's and key's  3 hold
--       4 account, key, estimated tokens and blob, as the hold has them  and if any of them needs consent also:
--       5 consent field (empty: this one needs none)  6 notice version
-- Replies  for each request a line: OK bal held unlimited requests tokens [again] | NOKEY | REVOKED | EXPIRED |
--          NOACCT | DISABLED | POLICY account's key's | CONSENT | GONE | RANGE | NOBUDGET | COINS bal held lim rate |
--          NEVER | HELD | KEYCAP cap used end | CONC | TOOLARGE | RPM wait_us requests tokens |
--          TPM wait_us requests tokens | NOTREADY | ERR message (damaged data; the others of the call are not harmed)
--          where requests and tokens are limit/remaining/reset_us of the narrowest rate, or -
-- @include readiness.lua
-- @include clock.lua
-- @include amounts.lua
-- @include limits.lua
-- @include take_rates.lua
local KEYS_EACH = 3
local ttl_ms = tonumber(ARGV[1])
local no_shadow_and_deadline = is_count(ttl_ms) and string.format(' 0 %d ', now_ms + ttl_ms)
local last = string.format('%d', now_ms)

local function refuse(of_key, reply)
  call('HSET', of_key, 'last', last)
  return reply
end

local function admit(meta, of_account, of_key, request, policies, hold, rest_of_hold, consent_field, notice_version)
  if not is_ready(call('HGET', meta, 'ready')) then return 'NOTREADY' end
-- @include bucket_keys.lua
  local account, tokens = string.match(rest_of_hold, '^(%d+) %d+ (%d+) ')
  local bal, held, nh, state, pol, lim, mode, unlimited, limits =
    unpack(call('HMGET', of_account, 'bal', 'held', 'nh', 'st', 'pol', 'lim', 'mode', 'unl', 'limits'))
  local key_account, key_nh, key_state, key_expires_ms, key_pol, cap, key_limits =
    unpack(call('HMGET', of_key, 'acct', 'nh', 'st', 'exp', 'pol', 'cap', 'limits'))

  -- 1, 2, 3
-- @include identity.lua

  -- 4
  if consent_field and consent_field ~= '' then
    local consented = call('HGET', of_account, consent_field)
    if not consented or tonumber(consented) < tonumber(notice_version) then return refuse(of_key, 'CONSENT') end
  end

  -- 5
  local standing = call('HGET', holds, request)
  if standing then
    if string.match(standing, '^%d+ %d+ %d+ %a+ (%d+ %d+) ') ~= string.match(rest_of_hold, '^%d+ %d+') then
      return refuse(of_key, 'RANGE')
    end
    return 'OK ' .. bal .. ' ' .. held .. ' ' .. unlimited .. ' ' .. standing_rates(limits, key_limits) .. ' again'
  end
  if call('SISMEMBER', done0, request) == 1 or call('SISMEMBER', done1, request) == 1 then
    return refuse(of_key, 'GONE')
  end

  -- 6
  local need, now_held, now_bal = amount(hold), tonumber(held), tonumber(bal)
  if not need or now_held + need > M or math.abs(now_bal) > M or #tokens > 15 or not no_shadow_and_deadline then
    return refuse(of_key, 'RANGE')
  end

  -- 7 to 10
  local strict = mode == '1'
  if unlimited ~= '1' then
    if lim == '' then return refuse(of_key, 'NOBUDGET') end
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
        if strict and lim ~= '0' and need > math.max(tonumber(lim), now_bal) then return refuse(of_key, 'NEVER') end
        if now_bal > 0 and lim ~= '0' and (not strict or now_bal >= need) then return refuse(of_key, 'HELD') end
        return refuse(of_key, 'COINS ' .. bal .. ' ' .. held .. ' ' .. lim .. ' ' .. rate)
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
    if tonumber(key_held) + need > M then return refuse(of_key, 'RANGE') end
    if strict and key_held + need > room or not strict and tonumber(key_held) >= room then
      return refuse(of_key, 'KEYCAP ' .. cap .. ' ' .. used .. ' ' .. window_end)
    end
  end

  -- 12, 13
  local left = '- -'
  if limits or key_limits then
    local account_rates, key_rates = unpack_limits(limits), unpack_limits(key_limits)
    local most, key_most = account_rates and account_rates[CONCURRENCY] or 0, key_rates and key_rates[CONCURRENCY] or 0
    if most > 0 and tonumber(nh) >= most or key_most > 0 and tonumber(key_nh) >= key_most then
      return refuse(of_key, 'CONC')
    end
    local requests_wait_us, requests = take(account_rates, key_rates, REQUESTS, 1)
    local tokens_wait_us, tokens_left = take(account_rates, key_rates, TOKENS, tonumber(tokens))
    if not tokens_wait_us then return refuse(of_key, 'TOOLARGE') end
    -- The longest wait of all: after it, all of them let this request pass.
    local wait_us = math.max(requests_wait_us, tokens_wait_us)
    if wait_us > 0 then
      return refuse(of_key,
        (requests_wait_us > 0 and 'RPM ' or 'TPM ') .. string.format('%d ', wait_us) ..
        standing_rates(limits, key_limits))
    end
    left = requests .. ' ' .. tokens_left
    limits, key_limits = account_rates and pack_limits(account_rates), key_rates and pack_limits(key_rates)
  end

  -- `held` never passes M, so its sum is exact as a number; one write a hash is cheaper than two, and so is a number
  -- that is made text here.
  held = string.format('%d', now_held + need)
  nh, key_nh = string.format('%d', nh + 1), string.format('%d', key_nh + 1)
  if limits then
    call('HSET', of_account, 'held', held, 'nh', nh, 'limits', limits)
  else
    call('HSET', of_account, 'held', held, 'nh', nh)
  end
  if key_limits then
    call('HSET', of_key, 'nh', key_nh, 'last', last, 'limits', key_limits)
  else
    call('HSET', of_key, 'nh', key_nh, 'last', last)
  end
  if counted then call('HINCRBY', of_key, 'kh', hold) end
  call('HSET', holds, request, hold .. no_shadow_and_deadline .. (unlimited == '1' and 'u' or 'l') ..
    (counted and 'c ' or 'n ') .. rest_of_hold)
  return 'OK ' .. bal .. ' ' .. held .. ' ' .. unlimited .. ' ' .. left
end

local replies = {}
local count = #KEYS / KEYS_EACH
local argv_each = (#ARGV - 1) / count
for i = 0, count - 1 do
  local keys_at, argv_at = i * KEYS_EACH, 1 + i * argv_each
  local done, reply = pcall(admit, KEYS[keys_at + 1], KEYS[keys_at + 2], KEYS[keys_at + 3],
    unpack(ARGV, argv_at + 1, argv_at + argv_each))
  if not done then reply = 'ERR ' .. string.gsub(type(reply) == 'table' and reply.err or reply, '%c', ' ') end
  replies[i + 1] = reply
end
return table.concat(replies, '\n')

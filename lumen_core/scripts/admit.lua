#!lua
-- admit: takes holds for requests, or says why not. The tests are numbered as in ledger.md §4; the first that fails
-- answers. A refusal from test 2 on (but not 3) changes only the key's `last`, and a refill or a window that was due.
-- Takes one request or several of whatever buckets (in Redis Cluster: of one), one after the other: the call itself,
-- the replid and the clock cost half as much as a hold does. Parts that few requests need are taken in where they do:
-- each function made costs as much as a small command.
-- KEYS  for each request  1 account  2 key; its other keys are of the same bucket, and each argument costs
-- ARGV  1 ttl ms of the holds; then for each request  1 request  2 policies believed: account's and key's  3 hold
--       4 account, key, estimated tokens and blob, as the hold has them  and if any of them needs consent also:
--       5 consent field (empty: this one needs none)  6 notice version
-- Replies  for each request a line: OK bal held unlimited [again] | NOKEY | REVOKED | EXPIRED | NOACCT | DISABLED |
--          POLICY account's key's | CONSENT | GONE | RANGE | NOBUDGET | COINS bal held lim rate | NEVER | HELD |
--          KEYCAP cap used end | CONC | TOOLARGE | RPM wait_us | TPM wait_us | NOTREADY |
--          ERR message (damaged data; the others of the call are not harmed)
--          where OK and what clients get as 429 (HELD, CONC, RPM, TPM) are told with the rates that hold, as
--          with_rates() has them
-- @include readiness.lua
-- @include clock.lua
-- @include amounts.lua
-- @include limits.lua
-- @include take_rates.lua
local KEYS_EACH = 2
local ttl_ms = amount(ARGV[1])
local no_shadow_and_deadline = ttl_ms and format(' 0 %d ', now_ms + ttl_ms)
local last = format('%d', now_ms)
-- Few requests of an account run at once, and to make a number of a text and a text of the number again takes longer
-- than to look it up.
local ONE_MORE = {['0'] = '1', ['1'] = '2', ['2'] = '3', ['3'] = '4'}

local function refuse(of_key, reply)
  call('HSET', of_key, 'last', last)
  return reply
end

local function admit(of_account, of_key, request, policies, hold, rest_of_hold, consent_field, notice_version)
-- @include bucket.lua
  local account = sub(of_account, 10)  -- behind {bNNN}:a:
  local bal, held, nh, state, pol, lim, unlimited, limits =
    unpack(call('HMGET', of_account, 'bal', 'held', 'nh', 'st', 'pol', 'lim', 'unl', 'limits'))
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
    if match(standing, '^%d+ %d+ %d+ %a+ (%d+ %d+) ') ~= match(rest_of_hold, '^%d+ %d+') then
      return refuse(of_key, 'RANGE')
    end
    return with_rates(limits, key_limits, 'OK ' .. bal .. ' ' .. held .. ' ' .. unlimited .. ' again')
  end
  if call('SISMEMBER', tag .. ':done0', request) == 1 or call('SISMEMBER', tag .. ':done1', request) == 1 then
    return refuse(of_key, 'GONE')
  end

  -- 6
  local need, now_held, now_bal = amount(hold), held + 0, bal + 0
  if not need or now_held + need > M or now_bal > M or now_bal < -M or not no_shadow_and_deadline then
    return refuse(of_key, 'RANGE')
  end

  -- 7 to 10; what fits strictly fits
  if unlimited ~= '1' then
    if lim == '' then return refuse(of_key, 'NOBUDGET') end
    if lim == '0' or now_bal <= 0 or now_bal - now_held < need or now_bal <= now_held then
      local mode, rate, seq, lrh = unpack(call('HMGET', of_account, 'mode', 'rate', 'seq', 'lrh'))
      local strict = mode == '1'
      local enough = strict and need or 1
      local hour = math.floor(now_ms / 3600000)
      local fits = lim ~= '0' and now_bal > 0 and now_bal - now_held >= enough
      if not fits and lim ~= '0' and hour > tonumber(lrh) then
        local events = tag .. ':events'
-- @include events.lua
-- @include refill_wallet.lua
        bal = refill_wallet(account, unlimited, bal, lim, rate, seq, lrh, hour) or bal
        now_bal = tonumber(bal)
        fits = now_bal > 0 and now_bal - now_held >= enough
      end
      if not fits then
        if strict and lim ~= '0' and need > math.max(tonumber(lim), now_bal) then return refuse(of_key, 'NEVER') end
        if now_bal > 0 and lim ~= '0' and (not strict or now_bal >= need) then
          return refuse(of_key, with_rates(limits, key_limits, 'HELD'))
        end
        return refuse(of_key, 'COINS ' .. bal .. ' ' .. held .. ' ' .. lim .. ' ' .. rate)
      end
    end
  end

  -- 11
  local counted = cap and cap ~= ''
  if counted then
-- @include key_window.lua
    local strict = call('HGET', of_account, 'mode') == '1'
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
  local taken, key_taken
  if limits or key_limits then
    local tokens = match(rest_of_hold, '^%d+', #of_account + #of_key - 15) + 0  -- behind the two ids, which end the names
    local most, requests_wait_us, tokens_wait_us = 0, 0, 0
    local key_most, key_requests_wait_us, key_tokens_wait_us = 0, 0, 0
    if limits then taken, most, requests_wait_us, tokens_wait_us = take_rates(limits, tokens) end
    if key_limits then key_taken, key_most, key_requests_wait_us, key_tokens_wait_us = take_rates(key_limits, tokens) end
    if most > 0 and nh + 0 >= most or key_most > 0 and key_nh + 0 >= key_most then
      return refuse(of_key, with_rates(limits, key_limits, 'CONC'))
    end
    if not tokens_wait_us or not key_tokens_wait_us then return refuse(of_key, 'TOOLARGE') end
    if requests_wait_us > 0 or tokens_wait_us > 0 or key_requests_wait_us > 0 or key_tokens_wait_us > 0 then
      -- The longest wait of all: after it, all of them let this request pass.
      local reply = (requests_wait_us > 0 or key_requests_wait_us > 0) and 'RPM %d' or 'TPM %d'
      local wait_us = math.max(requests_wait_us, tokens_wait_us, key_requests_wait_us, key_tokens_wait_us)
      return refuse(of_key, with_rates(limits, key_limits, format(reply, wait_us)))
    end
  end

  -- `held` never passes M, so its sum is exact as a number; one write a hash is cheaper than two, and so is a number
  -- that is made text here.
  held = held == '0' and hold or format('%d', now_held + need)
  nh, key_nh = ONE_MORE[nh] or format('%d', nh + 1), ONE_MORE[key_nh] or format('%d', key_nh + 1)
  if taken then
    call('HSET', of_account, 'held', held, 'nh', nh, 'limits', taken)
  else
    call('HSET', of_account, 'held', held, 'nh', nh)
  end
  if key_taken then
    call('HSET', of_key, 'nh', key_nh, 'last', last, 'limits', key_taken)
  else
    call('HSET', of_key, 'nh', key_nh, 'last', last)
  end
  if counted then call('HINCRBY', of_key, 'kh', hold) end
  call('HSET', holds, request, hold .. no_shadow_and_deadline .. (unlimited == '1' and 'u' or 'l') ..
    (counted and 'c ' or 'n ') .. rest_of_hold)
  local reply = 'OK ' .. bal .. ' ' .. held .. ' ' .. unlimited
  return (taken or key_taken) and with_rates(taken, key_taken, reply) or reply
end

-- Damaged data ends the one it is of, and the rest goes on behind it.
local keys, arguments, replies = KEYS, ARGV, {}
local count = #keys / KEYS_EACH
local each = (#arguments - 1) / count
local at = 0
local function admit_the_rest()
  while at < count do
    local keys_at, argv_at = at * KEYS_EACH, 1 + at * each
    at = at + 1
    replies[at] = admit(keys[keys_at + 1], keys[keys_at + 2], arguments[argv_at + 1], arguments[argv_at + 2],
      arguments[argv_at + 3], arguments[argv_at + 4], each > 4 and arguments[argv_at + 5], arguments[argv_at + 6])
  end
end
repeat
  local done, failure = pcall(admit_the_rest)
  if not done then
    replies[at] = 'ERR ' .. string.gsub(type(failure) == 'table' and failure.err or failure, '%c', ' ')
  end
until at == count
return table.concat(replies, '\n')

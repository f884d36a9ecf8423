#!lua
-- admit: takes a hold for one request, or says why not. The tests are numbered as in ledger.md §4; the first that
-- fails answers. A refusal from test 2 on (but not 3) changes only the key's `last`, and a refill or a window that was
-- due.
-- KEYS  1 {b}:meta  2 account  3 key  4 {b}:holds  5 {b}:events  6 {b}:done0  7 {b}:done1
-- ARGV  1 request  2 account  3 key  4 account's policy believed  5 key's policy believed  6 consent field or -
--       7 notice version  8 hold  9 ttl ms  10 estimated tokens  11 blob
-- Replies  OK bal held remaining_requests remaining_tokens unlimited [again] | NOKEY | REVOKED | EXPIRED | NOACCT |
--          DISABLED | POLICY account's key's | CONSENT | GONE | RANGE | NOBUDGET | COINS bal held lim rate | NEVER |
--          HELD | KEYCAP cap used end | CONC | RPM wait_us | TPM wait_us | NOTREADY
-- @include readiness.lua
if not is_ready then return 'NOTREADY' end
-- @include clock.lua
-- @include amounts.lua
local events = KEYS[5]
-- @include events.lua
-- @include refill_wallet.lua
-- @include key_window.lua
local request, account, key, policy, key_policy, consent_field, notice_version, hold, ttl_ms, tokens, blob =
  unpack(ARGV)
local bal, held, nh, state, pol, lim, mode, unlimited, rates =
  unpack(call('HMGET', KEYS[2], 'bal', 'held', 'nh', 'st', 'pol', 'lim', 'mode', 'unl', 'rates'))
local key_account, key_nh, key_state, key_expires_ms, key_pol, cap, key_rates =
  unpack(call('HMGET', KEYS[3], 'acct', 'nh', 'st', 'exp', 'pol', 'cap', 'rates'))

-- 1, 2, 3
-- @include identity.lua
local function refuse(reply)
  call('HSET', KEYS[3], 'last', now_ms)
  return reply
end

-- 4
if consent_field ~= '-' then
  local consented = call('HGET', KEYS[2], consent_field)
  if not consented or tonumber(consented) < tonumber(notice_version) then return refuse('CONSENT') end
end

-- Most accounts and keys have no rate limits: what those need is read only where there are some.
local function limits(hash, hash_rates)
  if hash_rates == '' then return '0', '0', '0', '0', '0' end
  local per_minute, tokens_per_minute, concurrency = string.match(hash_rates, '^(%d+) (%d+) (%d+)$')
  return per_minute, tokens_per_minute, concurrency, unpack(call('HMGET', hash, 'rt', 'tt'))
end
local rpm, tpm, conc, rt, tt = limits(KEYS[2], rates)
local key_rpm, key_tpm, key_conc, key_rt, key_tt = limits(KEYS[3], key_rates)

-- GCRA with a burst of one minute; intervals are rounded down, so that a minute's worth always fits into a minute.
-- Returns the scope's new time as text, how many more would pass then (nil: no limit); and the wait, if it is too
-- early.
local function take(per_minute, theoretical_us, count)
  if per_minute == '0' then return theoretical_us end
  local new_us = math.max(tonumber(theoretical_us), now_us) + math.floor(count * 60000000 / per_minute)
  local left_us = now_us + 60000000 - new_us
  if left_us < 0 then return nil, 0, string.format('%.0f', -left_us) end
  return string.format('%d', new_us), math.floor(left_us * per_minute / 60000000)
end
local function least(one, other) return one and other and math.min(one, other) or one or other or '-' end

-- 5
local standing = call('HGET', KEYS[4], request)
if standing then
  local _, _, _, _, owner, owner_key = string.match(standing, '^(%d+) (%d+) (%d+) (%a+) (%d+) (%d+) ')
  if owner ~= account or owner_key ~= key then return refuse('RANGE') end
  local _, requests_left = take(rpm, rt, 0)
  local _, key_requests_left = take(key_rpm, key_rt, 0)
  local _, tokens_left = take(tpm, tt, 0)
  local _, key_tokens_left = take(key_tpm, key_tt, 0)
  return 'OK ' .. bal .. ' ' .. held .. ' ' .. least(requests_left, key_requests_left) .. ' ' ..
    least(tokens_left, key_tokens_left) .. ' ' .. unlimited .. ' again'
end
if call('SISMEMBER', KEYS[6], request) == 1 or call('SISMEMBER', KEYS[7], request) == 1 then return refuse('GONE') end

-- 6
local need, now_held, now_bal = amount(hold), tonumber(held), tonumber(bal)
tokens, ttl_ms = tonumber(tokens), tonumber(ttl_ms)
if not need or now_held + need > M or math.abs(now_bal) > M or not is_count(tokens) or not is_count(ttl_ms) then
  return refuse('RANGE')
end

-- 7 to 10
local strict = mode == '1'
if unlimited ~= '1' then
  if lim == '' then return refuse('NOBUDGET') end
  local limit = tonumber(lim)
  local function coins()
    return refuse('COINS ' .. bal .. ' ' .. held .. ' ' .. lim .. ' ' .. call('HGET', KEYS[2], 'rate'))
  end
  if limit == 0 then return coins() end
  local function fits()
    local free = now_bal - now_held
    return now_bal > 0 and (strict and free >= need or not strict and free > 0)
  end
  if not fits() then
    local rate, seq, lrh = unpack(call('HMGET', KEYS[2], 'rate', 'seq', 'lrh'))
    local hour = math.floor(now_ms / 3600000)
    if hour > tonumber(lrh) then
      bal = refill_wallet(account, unlimited, bal, lim, rate, seq, lrh, hour) or bal
      now_bal = tonumber(bal)
    end
  end
  if not fits() then
    if strict and need > math.max(limit, now_bal) then return refuse('NEVER') end
    if now_bal <= 0 or strict and now_bal < need then return coins() end
    return refuse('HELD')
  end
end

-- 11
local counted = cap and cap ~= ''
if counted then
  local used, key_held, window_end, window_length = unpack(call('HMGET', KEYS[3], 'cu', 'kh', 'ce', 'cl'))
  local new_end = next_window_end(window_end, window_length)
  if new_end then
    call('HSET', KEYS[3], 'cu', '0', 'ce', new_end)
    used, window_end = '0', new_end
  end
  -- Two terms on each side: three could pass 2^53.
  local room = tonumber(cap) - used
  if tonumber(key_held) + need > M then return refuse('RANGE') end
  if strict and key_held + need > room or not strict and tonumber(key_held) >= room then
    return refuse('KEYCAP ' .. cap .. ' ' .. used .. ' ' .. window_end)
  end
end

-- 12
if conc ~= '0' and tonumber(nh) >= tonumber(conc) or key_conc ~= '0' and tonumber(key_nh) >= tonumber(key_conc) then
  return refuse('CONC')
end

-- 13
local new_rt, requests_left, wait_us = take(rpm, rt, 1)
if wait_us then return refuse('RPM ' .. wait_us) end
local new_key_rt, key_requests_left, key_wait_us = take(key_rpm, key_rt, 1)
if key_wait_us then return refuse('RPM ' .. key_wait_us) end
local new_tt, tokens_left, tokens_wait_us = take(tpm, tt, tokens)
if tokens_wait_us then return refuse('TPM ' .. tokens_wait_us) end
local new_key_tt, key_tokens_left, key_tokens_wait_us = take(key_tpm, key_tt, tokens)
if key_tokens_wait_us then return refuse('TPM ' .. key_tokens_wait_us) end

-- `held` never passes M, so its sum is exact as a number; one write a hash is cheaper than two.
held = string.format('%d', now_held + need)
nh, key_nh = string.format('%d', nh + 1), string.format('%d', key_nh + 1)
local last = string.format('%d', now_ms)
if rates == '' then
  call('HSET', KEYS[2], 'held', held, 'nh', nh)
else
  call('HSET', KEYS[2], 'held', held, 'nh', nh, 'rt', new_rt, 'tt', new_tt)
end
if key_rates == '' then
  call('HSET', KEYS[3], 'nh', key_nh, 'last', last)
else
  call('HSET', KEYS[3], 'nh', key_nh, 'last', last, 'rt', new_key_rt, 'tt', new_key_tt)
end
if counted then call('HINCRBY', KEYS[3], 'kh', hold) end
call('HSET', KEYS[4], request, hold .. string.format(' 0 %d ', now_ms + ttl_ms) .. (unlimited == '1' and 'u' or 'l') ..
  (counted and 'c ' or 'n ') .. account .. ' ' .. key .. string.format(' %d ', tokens) .. blob)
return 'OK ' .. bal .. ' ' .. held .. ' ' .. least(requests_left, key_requests_left) .. ' ' ..
  least(tokens_left, key_tokens_left) .. ' ' .. unlimited

#!lua
-- admit: takes a hold for one request, or says why not. The tests are numbered as in ledger.md §4; the first that fails
-- answers. A refusal from test 2 on (but not 3) changes only the key's `last`, and a refill or a window that was due.
-- KEYS  1 {b}:meta  2 account  3 key  4 {b}:holds  5 {b}:events  6 {b}:done0  7 {b}:done1
-- ARGV  1 request  2 account  3 key  4 account's policy believed  5 key's policy believed  6 consent field or -
--       7 notice version  8 hold  9 ttl ms  10 estimated tokens  11 blob
-- Replies  OK bal held remaining_requests remaining_tokens unlimited [again] | NOKEY | REVOKED | EXPIRED | NOACCT |
--          DISABLED | POLICY account's key's | CONSENT | GONE | RANGE | NOBUDGET | COINS bal held lim rate | NEVER | HELD |
--          KEYCAP cap used end | CONC | RPM wait_us | TPM wait_us | NOTREADY
-- @include readiness.lua
if not is_ready then return 'NOTREADY' end
-- @include clock.lua
-- @include amounts.lua
local events = KEYS[5]
-- @include events.lua
-- @include refill_wallet.lua
-- @include key_window.lua
local request, account, key, policy, key_policy, consent_field, notice_version, hold, ttl_ms, tokens, blob = unpack(ARGV)
local state, pol, bal, held, lim, mode, unlimited, nh, conc, rpm, rt, tpm, tt, lrh, consented = unpack(call('HMGET',
  KEYS[2], 'st', 'pol', 'bal', 'held', 'lim', 'mode', 'unl', 'nh', 'conc', 'rpm', 'rt', 'tpm', 'tt', 'lrh',
  consent_field))
local key_account, key_state, key_expires_ms, key_pol, key_nh, key_conc, key_rpm, key_rt, key_tpm, key_tt, cap =
  unpack(call('HMGET', KEYS[3], 'acct', 'st', 'exp', 'pol', 'nh', 'conc', 'rpm', 'rt', 'tpm', 'tt', 'cap'))

-- 1, 2, 3
-- @include identity.lua
local function refuse(reply)
  call('HSET', KEYS[3], 'last', now_ms)
  return reply
end

-- 4
if consent_field ~= '-' and (not consented or tonumber(consented) < tonumber(notice_version)) then
  return refuse('CONSENT')
end

-- GCRA with a burst of one minute. Intervals are rounded down, so that a minute's worth always fits into a minute.
-- Returns the scope's new time, and for how long it is too early (≤ 0: it passes); and what is left then.
local function after(per_minute, theoretical_us, count)
  if per_minute == '0' then return theoretical_us, 0 end
  local new_us = math.max(tonumber(theoretical_us), now_us) + math.floor(count * 60000000 / per_minute)
  return new_us, new_us - now_us - 60000000
end
local function remaining(per_minute, new_us, other)
  if per_minute == '0' then return other end
  local left = math.floor((60000000 - (new_us - now_us)) * per_minute / 60000000)
  left = math.max(0, left)
  return other == '-' and left or math.min(left, other)
end
local function granted(now_bal, now_held, rt_us, key_rt_us, tt_us, key_tt_us)
  return 'OK ' .. now_bal .. ' ' .. now_held .. ' ' ..
    remaining(key_rpm, key_rt_us, remaining(rpm, rt_us, '-')) .. ' ' ..
    remaining(key_tpm, key_tt_us, remaining(tpm, tt_us, '-')) .. ' ' .. unlimited
end

-- 5
local standing = call('HGET', KEYS[4], request)
if standing then
  local _, _, _, _, owner, owner_key = string.match(standing, '^(%d+) (%d+) (%d+) (%a+) (%d+) (%d+) ')
  if owner ~= account or owner_key ~= key then return refuse('RANGE') end
  return granted(bal, held, (after(rpm, rt, 0)), (after(key_rpm, key_rt, 0)), (after(tpm, tt, 0)),
    (after(key_tpm, key_tt, 0))) .. ' again'
end
if call('SISMEMBER', KEYS[6], request) == 1 or call('SISMEMBER', KEYS[7], request) == 1 then return refuse('GONE') end

-- 6
local need, now_held, now_bal = amount(hold), tonumber(held), tonumber(bal)
if not need or now_held + need > M or math.abs(now_bal) > M or not amount(tokens) or not amount(ttl_ms) then
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
  local hour = math.floor(now_ms / 3600000)
  if not fits() and hour > tonumber(lrh) then
    local rate, seq = unpack(call('HMGET', KEYS[2], 'rate', 'seq'))
    bal = refill_wallet(account, unlimited, bal, lim, rate, seq, lrh, hour) or bal
    now_bal = tonumber(bal)
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
local rt_us, key_rt_us, tt_us, key_tt_us, wait_us
rt_us, wait_us = after(rpm, rt, 1)
if wait_us > 0 then return refuse('RPM ' .. string.format('%.0f', wait_us)) end
key_rt_us, wait_us = after(key_rpm, key_rt, 1)
if wait_us > 0 then return refuse('RPM ' .. string.format('%.0f', wait_us)) end
tt_us, wait_us = after(tpm, tt, tokens)
if wait_us > 0 then return refuse('TPM ' .. string.format('%.0f', wait_us)) end
key_tt_us, wait_us = after(key_tpm, key_tt, tokens)
if wait_us > 0 then return refuse('TPM ' .. string.format('%.0f', wait_us)) end

call('HINCRBY', KEYS[2], 'held', hold)
call('HSET', KEYS[2], 'nh', nh + 1, 'rt', rt_us, 'tt', tt_us)
call('HSET', KEYS[3], 'nh', key_nh + 1, 'rt', key_rt_us, 'tt', key_tt_us, 'last', now_ms)
if counted then call('HINCRBY', KEYS[3], 'kh', hold) end
call('HSET', KEYS[4], request, hold .. ' 0 ' .. now_ms + ttl_ms .. (unlimited == '1' and ' u' or ' l') ..
  (counted and 'c ' or 'n ') .. account .. ' ' .. key .. ' ' .. tokens .. ' ' .. blob)
return granted(bal, string.format('%.0f', now_held + need), rt_us, key_rt_us, tt_us, key_tt_us)

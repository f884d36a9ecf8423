#!lua
-- set_account: creates an account or changes its configuration; the higher version wins. Works also when NOTREADY.
-- Consents only ever grow, so they are merged whatever the version: more than one call holds need no version of their
-- own.
-- KEYS  1 {b}:meta  2 account  3 {b}:events
-- ARGV  1 account  2 version  3 limit (empty: no budget)  4 rate  5 unlimited 0|1  6 mode 0 soft 1 strict  7 state
--       8 policy or -  9 concurrency  10 to 17 limit and period in s of two request and two token rates (0: no limit)
--       then pairs: consent field, version
-- Replies  OK | STALE | RANGE
-- @include readiness.lua
-- @include clock.lua
-- @include amounts.lua
local meta, of_account, events = unpack(KEYS)
-- @include events.lua
-- @include refill_wallet.lua
-- @include limits.lua
-- @include set_limits.lua
local account, version, lim, rate, unlimited, mode, state, policy = unpack(ARGV, 1, 8)
local LIMITS_AT, CONSENTS_AT = 9, 18
for i = 2, 7 do
  if not (i == 3 and lim == '') and not amount(ARGV[i]) then return 'RANGE' end
end
for i = CONSENTS_AT + 1, #ARGV, 2 do
  if not amount(ARGV[i]) then return 'RANGE' end
end

local stored_version, bal, old_lim, old_rate, old_unlimited, seq, lrh, old_limits =
  unpack(call('HMGET', of_account, 'ver', 'bal', 'lim', 'rate', 'unl', 'seq', 'lrh', 'limits'))
local range, limits = configured_limits(LIMITS_AT, old_limits)
if range then return range end
for i = CONSENTS_AT, #ARGV - 1, 2 do
  if tonumber(ARGV[i + 1]) > tonumber(call('HGET', of_account, ARGV[i]) or 0) then
    call('HSET', of_account, ARGV[i], ARGV[i + 1])
  end
end
if tonumber(version) <= tonumber(stored_version or 0) then return 'STALE' end

local hour = math.floor(now_ms / 3600000)
if not bal then
  -- A new account starts at nothing, with this hour refilled: its first coins are a grant.
  -- What is read most often comes first: Redis looks a field up from the front.
  call('HSET', of_account, 'bal', '0', 'held', '0', 'nh', '0', 'seq', '0', 'lrh', hour, 'opn', '0')
elseif stored_version and hour > tonumber(lrh) and is_ready(call('HGET', meta, 'ready')) then
  -- Hours that passed under the old rate are credited at the old rate. Unreconciled, no money moves (I10).
  refill_wallet(account, old_unlimited, bal, old_lim, old_rate, seq, lrh, hour)
end
call('HSET', of_account, 'st', state, 'pol', policy, 'lim', lim, 'unl', unlimited, 'mode', mode, 'rate', rate,
  'ver', version)
store_or_drop(of_account, 'limits', limits)
return 'OK'

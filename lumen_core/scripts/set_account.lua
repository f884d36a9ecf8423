#!lua
-- set_account: creates an account or changes its configuration; the higher version wins. Works also when NOTREADY.
-- Consents only ever grow, so they are merged whatever the version: more than one call holds need no version of their
-- own.
-- KEYS  1 {b}:meta  2 account  3 {b}:events
-- ARGV  1 account  2 version  3 limit (empty: no budget)  4 rate  5 unlimited 0|1  6 mode 0 soft 1 strict  7 state
--       8 policy or -  9 requests/min  10 tokens/min  11 concurrency (0: no limit)  then pairs: consent field, version
-- Replies  OK | STALE | RANGE
-- @include readiness.lua
-- @include clock.lua
-- @include amounts.lua
local events = KEYS[3]
-- @include events.lua
-- @include refill_wallet.lua
local account, version, lim, rate, unlimited, mode, state, policy, rpm, tpm, conc = unpack(ARGV, 1, 11)
for i = 2, 11 do
  if i ~= 8 and not (i == 3 and lim == '') and not amount(ARGV[i]) then return 'RANGE' end
end
for i = 13, #ARGV, 2 do
  if not amount(ARGV[i]) then return 'RANGE' end
end

local stored_version, bal, old_lim, old_rate, old_unlimited, seq, lrh =
  unpack(call('HMGET', KEYS[2], 'ver', 'bal', 'lim', 'rate', 'unl', 'seq', 'lrh'))
for i = 12, #ARGV - 1, 2 do
  if tonumber(ARGV[i + 1]) > tonumber(call('HGET', KEYS[2], ARGV[i]) or 0) then
    call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
if tonumber(version) <= tonumber(stored_version or 0) then return 'STALE' end

local rates = rpm .. ' ' .. tpm .. ' ' .. conc
if rates == '0 0 0' then rates = '' end
local hour = math.floor(now_ms / 3600000)
if not bal then
  -- A new account starts at nothing, with this hour refilled: its first coins are a grant.
  call('HSET', KEYS[2], 'bal', '0', 'held', '0', 'nh', '0', 'seq', '0', 'opn', '0', 'lrh', hour)
elseif is_ready and stored_version and hour > tonumber(lrh) then
  -- Hours that passed under the old rate are credited at the old rate. Unreconciled, no money moves (I10).
  refill_wallet(account, old_unlimited, bal, old_lim, old_rate, seq, lrh, hour)
end
call('HSET', KEYS[2], 'ver', version, 'lim', lim, 'rate', rate, 'unl', unlimited, 'mode', mode, 'st', state,
  'pol', policy, 'rates', rates)
if not stored_version then call('HSET', KEYS[2], 'rt', '0', 'tt', '0') end
return 'OK'

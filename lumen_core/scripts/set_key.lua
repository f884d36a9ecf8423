#!lua
-- set_key: creates a key or changes its configuration; the higher version wins. Works also when NOTREADY.
-- Revoking needs no version and is for ever: no later version, load or rebuild revives a key (I9).
-- KEYS  1 {b}:meta  2 key
-- ARGV  1 account  2 version  3 state  4 expires ms or 0  5 policy or -  6 requests/min  7 tokens/min  8 concurrency
--       9 cap (empty: none)  10 window ms (0: for ever)  11 window's end ms
--       in a rebuild also: 12 nonce  13 used under the cap  14 held under the cap  15 holds in flight
-- Replies  OK | STALE | RANGE (also: the key is another account's) | NONCE (that rebuild does not run any more)
-- @include clock.lua
-- @include amounts.lua
-- @include key_window.lua
local call = redis.call
local account, version, state, expires_ms, policy, rpm, tpm, conc, cap, window_ms, window_end_ms, nonce, used, key_held,
  holds = unpack(ARGV, 1, 15)
for i = 2, #ARGV do
  if i ~= 5 and i ~= 12 and not (i == 9 and cap == '') and not amount(ARGV[i]) then return 'RANGE' end
end
local stored_account, stored_version, stored_state, old_cap, old_window_ms, old_window_end_ms =
  unpack(call('HMGET', KEYS[2], 'acct', 'ver', 'st', 'cap', 'cl', 'ce'))
if stored_account and stored_account ~= account then return 'RANGE' end
if nonce and call('HGET', KEYS[1], 'nonce') ~= nonce then return 'NONCE' end

local revoke = state == '2'
local newer = tonumber(version) > tonumber(stored_version or 0)
if not (newer or revoke or nonce) then return 'STALE' end
if stored_state == '2' then state = '2' end
if not stored_account then
  call('HSET', KEYS[2], 'acct', account, 'nh', '0', 'rt', '0', 'tt', '0', 'cu', '0', 'kh', '0', 'last', '0',
    'cl', '0', 'ce', '0')
elseif newer then
  -- A window that ended takes its count with it, and so does one of another length; the one that runs on keeps it.
  local new_cap = (old_cap or '') == '' and cap ~= ''
  if new_cap or window_ms ~= old_window_ms or next_window_end(old_window_end_ms, old_window_ms) then
    call('HSET', KEYS[2], 'cu', '0')
  end
end
if newer then
  local rates = rpm .. ' ' .. tpm .. ' ' .. conc
  if rates == '0 0 0' then rates = '' end
  call('HSET', KEYS[2], 'ver', version, 'st', state, 'exp', expires_ms, 'pol', policy,
    'rates', rates, 'cap', cap, 'cl', window_ms, 'ce', next_window_end(window_end_ms, window_ms) or window_end_ms)
elseif revoke then
  call('HSET', KEYS[2], 'st', '2')
end
if nonce then call('HSET', KEYS[2], 'cu', used, 'kh', key_held, 'nh', holds) end
return 'OK'

#!lua
-- set_key: creates a key or changes its configuration; the higher version wins. Works also when NOTREADY.
-- Revoking needs no version and is for ever: no later version, load or rebuild revives a key (I9).
-- A key that never had a cap has none of a cap's fields; one whose cap is taken away loses `cap` alone.
-- KEYS  1 {b}:meta  2 key
-- ARGV  1 account  2 version  3 state  4 expires ms or 0  5 policy or -  6 cap (empty: none)  7 window ms (0: for ever)
--       8 window's end ms  9 concurrency  10 to 17 limit and period in s of two request and two token rates (0: no limit)
--       in a rebuild also: 18 nonce  19 used under the cap  20 held under the cap  21 holds in flight
-- Replies  OK | STALE | RANGE (also: the key is another account's) | NONCE (that rebuild does not run any more)
-- @include clock.lua
-- @include amounts.lua
-- @include key_window.lua
local call = redis.call
-- @include limits.lua
-- @include set_limits.lua
local meta, of_key = unpack(KEYS)
local account, version, state, expires_ms, policy, cap, window_ms, window_end_ms = unpack(ARGV, 1, 8)
local nonce, used, key_held, holds = unpack(ARGV, 18, 21)
for _, i in ipairs({2, 3, 4, 6, 7, 8, 19, 20, 21}) do
  if i <= #ARGV and not (i == 6 and cap == '') and not amount(ARGV[i]) then return 'RANGE' end
end
local stored_account, stored_version, stored_state, old_cap, old_window_ms, old_window_end_ms, old_used, old_limits =
  unpack(call('HMGET', of_key, 'acct', 'ver', 'st', 'cap', 'cl', 'ce', 'cu', 'limits'))
if stored_account and stored_account ~= account then return 'RANGE' end
local range, limits = configured_limits(9, old_limits)
if range then return range end
if nonce and call('HGET', meta, 'nonce') ~= nonce then return 'NONCE' end

local revoke = state == '2'
local newer = tonumber(version) > tonumber(stored_version or 0)
if not (newer or revoke or nonce) then return 'STALE' end
if stored_state == '2' then state = '2' end
if not stored_account then call('HSET', of_key, 'acct', account, 'nh', '0', 'last', '0') end
if newer then
  call('HSET', of_key, 'st', state, 'exp', expires_ms, 'pol', policy, 'ver', version)
  store_or_drop(of_key, 'limits', limits)
  store_or_drop(of_key, 'cap', cap)
  if cap ~= '' then
    if not old_used then
      call('HSET', of_key, 'cu', '0', 'kh', '0')
    elseif not old_cap or window_ms ~= old_window_ms or next_window_end(old_window_end_ms, old_window_ms) then
      -- A window that ended takes its count with it, and so does one of another length; the one that runs on keeps it.
      call('HSET', of_key, 'cu', '0')
    end
    call('HSET', of_key, 'cl', window_ms, 'ce', next_window_end(window_end_ms, window_ms) or window_end_ms)
  end
elseif revoke then
  call('HSET', of_key, 'st', '2')
end
if nonce then
  call('HSET', of_key, 'nh', holds)
  -- Holds that were counted under a cap since taken away still end under it.
  if cap ~= '' or old_used or used ~= '0' or key_held ~= '0' then call('HSET', of_key, 'cu', used, 'kh', key_held) end
end
return 'OK'

#!lua
-- auth: tests 1 to 3 of admission and nothing else; for free calls, and before refusals that depend on the account.
-- KEYS  1 {b}:meta  2 account  3 key
-- ARGV  1 account  2 key  3 account's policy believed  4 key's policy believed
-- Replies  OK | NOKEY | REVOKED | EXPIRED | NOACCT | DISABLED | POLICY account's key's | NOTREADY
-- @include readiness.lua
if not is_ready then return 'NOTREADY' end
-- @include clock.lua
local account, _, policy, key_policy = unpack(ARGV)
local state, pol = unpack(call('HMGET', KEYS[2], 'st', 'pol'))
local key_account, key_state, key_expires_ms, key_pol = unpack(call('HMGET', KEYS[3], 'acct', 'st', 'exp', 'pol'))
-- @include identity.lua
call('HSET', KEYS[3], 'last', now_ms)
return 'OK'

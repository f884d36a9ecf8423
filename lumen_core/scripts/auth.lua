#!lua
-- auth: tests 1 to 3 of admission and nothing else; for free calls, and before refusals that depend on the account.
-- KEYS  1 account  2 key
-- ARGV  1 account  2 policies believed: account's and key's
-- Replies  OK | NOKEY | REVOKED | EXPIRED | NOACCT | DISABLED | POLICY account's key's | NOTREADY
-- @include readiness.lua
local of_account, of_key = unpack(KEYS)
-- @include bucket.lua
-- @include clock.lua
local account, policies = unpack(ARGV)
local state, pol = unpack(call('HMGET', of_account, 'st', 'pol'))
local key_account, key_state, key_expires_ms, key_pol = unpack(call('HMGET', of_key, 'acct', 'st', 'exp', 'pol'))
-- @include identity.lua
call('HSET', of_key, 'last', now_ms)
return 'OK'

#!lua
-- lookup: which account and key a key hash belongs to. Immutable, so workers keep hits for ever, and never a miss.
-- KEYS  1 {b}:meta  2 {b}:kh, b of the key hash
-- ARGV  1 key hash, 32 raw bytes
-- Replies  OK account key | NOKEY | NOTREADY (an emptied Redis must never look like an unknown key)
-- @include readiness.lua
if not is_ready(call('HGET', KEYS[1], 'ready')) then return 'NOTREADY' end
local entry = call('HGET', KEYS[2], ARGV[1])
if not entry then return 'NOKEY' end
local account, key = string.match(entry, '^(%d+):(%d+)$')
return 'OK ' .. account .. ' ' .. key

#!lua
-- mark_ready: puts a reconciled bucket into service, for the master it was reconciled with and no other.
-- KEYS  1 {b}:meta
-- ARGV  1 nonce  2 replid of the master that was reconciled
-- Replies  OK (again, too) | NONCE (flushed meanwhile, or another reconciliation runs) | MOVED (another master)
-- @include readiness.lua
local ready = call('HGET', KEYS[1], 'ready')
local nonce, id = ARGV[1], ARGV[2]
local token = id .. ':' .. nonce
if ready ~= token and call('HGET', KEYS[1], 'nonce') ~= nonce then return 'NONCE' end
if not is_ready(token) then return 'MOVED' end
-- Without its nonce, a straggler of this reconciliation can load nothing any more.
call('HDEL', KEYS[1], 'nonce')
call('HSET', KEYS[1], 'ready', token)
return 'OK'

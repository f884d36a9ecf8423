#!lua
-- load_account: the money fields of an account, from the book, during a rebuild. Set, never added (L5).
-- KEYS  1 {b}:meta  2 account
-- ARGV  1 nonce  2 balance  3 held  4 holds in flight  5 seq  6 opn  7 last refilled hour
-- Replies  OK | RANGE | NONCE (that rebuild does not run any more)
-- @include amounts.lua
local nonce, balance, held, holds, seq, opn, lrh = unpack(ARGV)
if redis.call('HGET', KEYS[1], 'nonce') ~= nonce then return 'NONCE' end
-- A balance may lie beyond M (settles are never refused), but not beyond 18 digits.
if balance ~= '0' and (#balance > 19 or not string.find(balance, '^%-?[1-9]%d*$')) then return 'RANGE' end
for i = 3, 7 do
  if not amount(ARGV[i]) then return 'RANGE' end
end
redis.call('HSET', KEYS[2], 'bal', balance, 'held', held, 'nh', holds, 'seq', seq, 'opn', opn, 'lrh', lrh)
return 'OK'

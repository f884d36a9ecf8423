#!lua
-- load_new: accounts and keys that Redis has nothing of, whole, from the book, during a rebuild. What it does have
-- something of is left alone: load_account, set_account and set_key know what of that is newer (a revocation, I9).
-- Several in a call, and as they are stored: an emptied Redis is filled in seconds, not in minutes.
-- KEYS  1 {b}:meta  2 and on: accounts or keys
-- ARGV  1 nonce  then for each: how many texts follow, and these: fields and their values
-- Replies  for each a line: OK | STALE (it is there) | NONCE (that rebuild does not run any more)
local call = redis.call
local runs = call('HGET', KEYS[1], 'nonce') == ARGV[1]
local replies, at = {}, 2
for i = 2, #KEYS do
  local last = at + ARGV[at]
  if not runs then
    replies[i - 1] = 'NONCE'
  elseif call('EXISTS', KEYS[i]) == 1 then
    replies[i - 1] = 'STALE'
  else
    call('HSET', KEYS[i], unpack(ARGV, at + 1, last))
    replies[i - 1] = 'OK'
  end
  at = last + 1
end
return table.concat(replies, '\n')

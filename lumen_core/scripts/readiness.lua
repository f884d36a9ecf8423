-- Part: was this bucket reconciled for the very master that runs this script? If not, no money may move (I10).
-- The replid is read inside the script: one read at connect survives an A→B→A failover, connection and all.
-- Expects KEYS[1] = {b}:meta. Leaves `call`, `is_ready`, and of meta `ready` (the token), `bseq`, `rotated_ms` (text).
local call = redis.call
local function is_master(replid)
  return string.find(call('INFO', 'replication'), 'master_replid:' .. replid .. '\r\n', 1, true)
end
local ready, bseq, rotated_ms = unpack(call('HMGET', KEYS[1], 'ready', 'bseq', 'rot'))
local is_ready = ready and is_master(string.sub(ready, 1, 40))

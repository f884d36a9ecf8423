-- Part: was this bucket reconciled for the very master that runs this script? If not, no money may move (I10).
-- The replid is read inside the script: one read at connect survives an A→B→A failover, connection and all.
-- Expects KEYS[1] = {b}:meta. Leaves `call`, `ready` (the token, or false), `is_ready`.
local call = redis.call
local function is_master(replid)
  return string.find(call('INFO', 'replication'), 'master_replid:' .. replid .. '\r\n', 1, true)
end
local ready = call('HGET', KEYS[1], 'ready')
local is_ready = ready and is_master(string.sub(ready, 1, 40))

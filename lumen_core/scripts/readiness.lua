-- Part: was a bucket reconciled for the very master that runs this script? If not, no money may move (I10).
-- The replid is read inside the script: one read at connect survives an A→B→A failover, connection and all.
-- Leaves `call` and is_ready(ready), where `ready` is a bucket's token (it begins with a replid), or false.
local call = redis.call
local master, info
local function is_ready(ready)
  local replid = ready and string.sub(ready, 1, 40)
  if not replid or replid == master then return replid end
  info = info or call('INFO', 'replication')
  if not string.find(info, 'master_replid:' .. replid .. '\r\n', 1, true) then return false end
  master = replid
  return true
end

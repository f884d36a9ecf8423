-- Part: was a bucket reconciled for the very master that runs this script? If not, no money may move (I10).
-- The replid is read inside the script: one read at connect survives an A→B→A failover, connection and all.
-- Leaves is_ready(ready), where `ready` is a bucket's token (it begins with a replid), or false; and `call`, and the
-- functions of strings by short names: looked up in their table, each use would cost an instruction more than it must.
local call, find, format, match, sub = redis.call, string.find, string.format, string.match, string.sub
local master, info
local function is_ready(ready)
  if not ready then return false end
  if master and find(ready, master, 1, true) == 1 then return true end
  info = info or call('INFO', 'replication')
  local replid = sub(ready, 1, 40)
  if not find(info, 'master_replid:' .. replid .. '\r\n', 1, true) then return false end
  master = replid
  return true
end

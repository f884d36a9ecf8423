-- Part: was a bucket reconciled for the very master that runs this script? If not, no money may move (I10).
-- The replid is read inside the script: one read at connect survives an A→B→A failover, connection and all.
-- Leaves is_ready(token), where `token` is what a bucket has for `ready` (it begins with a replid), or false; `call`, and
-- functions of strings by short names, as a look-up in their table for each use adds up. For bucket.lua `ready_tag`, the
-- bucket that was ready when it was looked at last, and `ready`, its token.
local call, find, format, match, sub = redis.call, string.find, string.format, string.match, string.sub
local master, info, ready_tag, ready
local function is_ready(token)
  if not token then return false end
  if master and find(token, master, 1, true) == 1 then return true end
  info = info or call('INFO', 'replication')
  local replid = sub(token, 1, 40)
  if not find(info, 'master_replid:' .. replid .. '\r\n', 1, true) then return false end
  master = replid
  return true
end

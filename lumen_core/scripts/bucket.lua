-- Part: the bucket of an account: its own keys, from the name of the account's, as arguments would cost more than they do
-- here; and is it ready? Where requests of one call follow each other in a bucket, it is asked for the first of them.
-- Expects readiness.lua and `of_account`, {b}:a:ACC. Leaves `tag`, `meta`, `holds`, and `ready`, the bucket's token. The
-- keys share the account's hash tag, so they are in the slot of a key that was declared.
local tag = sub(of_account, 1, 6)
local meta, holds = tag .. ':meta', tag .. ':holds'
if tag ~= ready_tag then
-- In a Redis Cluster the script is loaded without the next mark. While the slot moves, what is not declared may be gone
-- already, and a call that meets that ends the script in mid-way; a look that ends it here costs nothing but a repeat.
-- @cluster if type(redis.pcall('EXISTS', meta, holds, tag .. ':events', tag .. ':done0', tag .. ':done1')) == 'table' then return 'NOTREADY' end
  local token = call('HGET', meta, 'ready')
  if not is_ready(token) then return 'NOTREADY' end
  ready_tag, ready = tag, token
end

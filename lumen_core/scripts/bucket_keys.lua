-- Part: the bucket's own keys, from the name of an account's: as arguments they would cost more than they do here.
-- Expects `of_account`, {b}:a:ACC. They share its hash tag, so they are in the slot of a key that was declared.
local tag = sub(of_account, 1, 6)
local meta, holds = tag .. ':meta', tag .. ':holds'
-- In a Redis Cluster the script is loaded without the next mark. While the slot moves, what is not declared may be gone
-- already, and a call that meets that ends the script in mid-way; a look that ends it here costs nothing but a repeat.
-- @cluster if type(redis.pcall('EXISTS', meta, holds, tag .. ':events', tag .. ':done0', tag .. ':done1')) == 'table' then return 'NOTREADY' end

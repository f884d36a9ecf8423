#!lua
-- money_op: a money operation of the book, by its number: grants, resets and corrections of late settles.
-- KEYS  1 {b}:meta  2 account  3 {b}:events  4 key
-- ARGV  1 account and key or -  2 opn  3 kind: add, set, late  4 amount (may be negative)  5 cost  6 request or -
--       7 note
-- Replies  OK | DUP | GAP next_opn | RANGE (recorded with delta 0, or the operations after it would be stuck) |
--          NOACCT | NOTREADY
-- @include readiness.lua
local meta, of_account, events, of_key = unpack(KEYS)
if not is_ready(call('HGET', meta, 'ready')) then return 'NOTREADY' end
-- @include clock.lua
-- @include amounts.lua
-- @include events.lua
-- @include key_window.lua
local owner, opn, kind, wanted, cost, request, note = unpack(ARGV)
opn = amount(opn)
local types = {add = 'grant', set = 'adjust', late = 'correction'}
if not opn or not types[kind] then return redis.error_reply('ERR money_op: no number or no kind of operation') end
local state, unlimited, bal, seq, stored_opn, lrh =
  unpack(call('HMGET', of_account, 'st', 'unl', 'bal', 'seq', 'opn', 'lrh'))
if not state then return 'NOACCT' end
local next_opn = stored_opn + 1
if opn < next_opn then return 'DUP' end
if opn > next_opn then return 'GAP ' .. next_opn end

-- The change as exact text, or nil where it, or the balance after it, would be beyond M.
local function change()
  local magnitude = amount((string.gsub(wanted, '^%-', '')))
  if not magnitude or wanted == '-0' or not amount(cost) then return nil end
  local number, balance = tonumber(wanted), tonumber(bal)
  if kind == 'late' then return unlimited == '1' and '0' or wanted end
  if kind == 'add' then return math.abs(balance + number) <= M and wanted or nil end
  -- Beyond 2 M a difference may be off by one: such a balance (only settles can make it) is not set, but granted back.
  return math.abs(balance) <= M and string.format('%.0f', number - balance) or nil
end
local delta = change()
local in_range = delta ~= nil
delta = delta or '0'

call('HINCRBY', of_account, 'bal', delta)
call('HSET', of_account, 'opn', opn, 'seq', seq + 1)
if kind == 'late' and in_range then
  local cap, window_end, window_length = unpack(call('HMGET', of_key, 'cap', 'ce', 'cl'))
  if cap and cap ~= '' then
    local new_end = next_window_end(window_end, window_length)
    if new_end then call('HSET', of_key, 'cu', '0', 'ce', new_end) end
    call('HINCRBY', of_key, 'cu', cost)
  end
end
append_event(meta, events, types[kind], owner, delta, in_range and cost or '0', call('HGET', of_account, 'bal'), seq + 1,
  lrh, request, opn, note)
return in_range and 'OK' or 'RANGE'

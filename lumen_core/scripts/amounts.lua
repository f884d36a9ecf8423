-- Part: amounts of money as they travel: `0` or `[1-9]%d*`, at most M (ledger.md §2).
-- Up to M a number, and the sum of two, is exact; HINCRBY would refuse `007` or `-0` in mid-script.
local M = 4000000000000000
local function amount(text)  -- → number, or nil where the text is no amount
  local number = (text == '0' or string.find(text, '^[1-9]%d*$')) and text + 0  -- cheaper than tonumber()
  return number and number <= M and number or nil
end

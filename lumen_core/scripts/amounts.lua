-- Part: amounts of money, and counts, as they travel: `0` or `[1-9]%d*`, at most M (ledger.md §2).
-- Up to M a number, and the sum of two, is exact; HINCRBY would refuse `007` or `-0` in mid-script.
local M = 4000000000000000
local function amount(text)  -- → number, or nil where the text is no amount
  if text ~= '0' and (#text > 16 or not string.find(text, '^[1-9]%d*$')) then return nil end
  local number = tonumber(text)
  return number <= M and number or nil
end
local function negated(text) return text == '0' and '0' or '-' .. text end

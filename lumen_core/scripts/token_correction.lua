-- Part: token rates were charged with the estimate; this corrects a scope's by what it was off, maybe into the past.
-- Expects limits.lua. Only the rates of tokens are taken apart. Returns the limits packed anew, or nil where there is
-- nothing to correct.
local TOKEN_RATES, TOKENS_AT, CONCURRENCY_AT = '<I4I4I7I4I4I7', 31, 61
local LATEST_US = 9000000000000000  -- below 2^53
local function shifted(limit, period_s, used_up_us, tokens_off)
  local shift_us = tokens_off * period_s * 1000000 / limit
  used_up_us = used_up_us + (shift_us - shift_us % 1)  -- its whole part, downwards
  return used_up_us < 0 and 0 or used_up_us > LATEST_US and LATEST_US or used_up_us
end
local function corrected(limits, tokens_off)
  local limit1, period1, used_up1, limit2, period2, used_up2 = unpack_numbers(TOKEN_RATES, limits, TOKENS_AT)
  if limit1 == 0 and limit2 == 0 then return nil end
  if limit1 > 0 then used_up1 = shifted(limit1, period1, used_up1, tokens_off) end
  if limit2 > 0 then used_up2 = shifted(limit2, period2, used_up2, tokens_off) end
  return sub(limits, 1, TOKENS_AT - 1) .. pack_numbers(TOKEN_RATES, limit1, period1, used_up1, limit2, period2, used_up2) ..
    sub(limits, CONCURRENCY_AT)
end

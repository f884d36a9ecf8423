-- Part: token rates were charged with the estimate; this corrects a scope's by what it was off, maybe into the past.
-- Expects limits.lua. Only the rates of tokens are taken apart, and only their times put in anew: behind 38 bytes is that
-- of the first, and 7 later begin the 8 that tell the second. Returns the limits, or nil where there is nothing to correct.
local LATEST_US = 9000000000000000  -- below 2^53
local function shifted(limit, period_s, used_up_us, tokens_off)
  local shift_us = tokens_off * period_s * 1000000 / limit
  used_up_us = used_up_us + (shift_us - shift_us % 1)  -- its whole part, downwards
  return used_up_us < 0 and 0 or used_up_us > LATEST_US and LATEST_US or used_up_us
end
local function corrected(limits, tokens_off)
  local limit, period_s, used_up_us, second_limit = unpack_numbers('<I4I4I7I4', limits, 31)
  if limit == 0 and second_limit == 0 then return nil end
  if limit > 0 then
    limits = pack_numbers('<c38I7c19', limits, shifted(limit, period_s, used_up_us, tokens_off), sub(limits, 46))
  end
  if second_limit > 0 then
    period_s, used_up_us = unpack_numbers('<I4I7', limits, 50)
    limits = pack_numbers('<c53I7c4', limits, shifted(second_limit, period_s, used_up_us, tokens_off), sub(limits, 61))
  end
  return limits
end

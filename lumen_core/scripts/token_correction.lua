-- Part: token rates were charged with the estimate; this corrects a scope's by what it was off, maybe into the past.
-- Expects limits.lua. Returns the limits packed anew, or nil where there is nothing to correct.
local function corrected(text, used_tokens, estimated_tokens)
  local limits = unpack_limits(text)
  if not limits or limits[TOKENS] == 0 and limits[TOKENS + 3] == 0 then return nil end
  for i = TOKENS, TOKENS + 3, 3 do
    if limits[i] > 0 then
      local shift_us = (used_tokens - estimated_tokens) * limits[i + 1] * 1000000 / limits[i]
      local used_up_us = limits[i + 2] + (shift_us - shift_us % 1)  -- its whole part, downwards
      limits[i + 2] = used_up_us < 0 and 0 or used_up_us > LATEST_US and LATEST_US or used_up_us
    end
  end
  return pack_limits(limits)
end

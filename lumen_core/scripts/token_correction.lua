-- Part: token rates were charged with the estimate; this corrects a scope's by what it was off, maybe into the past.
-- Expects limits.lua. Returns the limits packed anew, or nil where there is nothing to correct.
local function corrected(text, used_tokens, estimated_tokens)
  local limits = unpack_limits(text)
  if not limits or limits[TOKENS] == 0 and limits[TOKENS + 3] == 0 then return nil end
  for i = TOKENS, TOKENS + 3, 3 do
    if limits[i] > 0 then
      local shift_us = math.floor((used_tokens - estimated_tokens) * limits[i + 1] * 1000000 / limits[i])
      limits[i + 2] = math.min(math.max(0, limits[i + 2] + shift_us), LATEST_US)
    end
  end
  return pack_limits(limits)
end

-- Part: GCRA over the rates of both scopes. Expects limits.lua, `now_us`; scopes come unpacked or nil. A burst of a whole
-- period passes at once; intervals are rounded down, so that a period's worth always fits into a period.
-- Written without the functions of `math`, of which each call costs more than all the arithmetic here: `x - x % 1` is the
-- whole part of a number.

-- One scope's part of take(), on top of what the other one's came to.
local function take_of(rates, first, count, wait_us, least, narrowest, reset_us)
  for i = first, first + 3, 3 do
    local limit = rates[i]
    if limit > 0 then
      if count > limit then return nil end
      local period_us, used_up_us = rates[i + 1] * 1000000, rates[i + 2]
      if used_up_us < now_us then used_up_us = now_us end
      local taken_us = count * period_us / limit
      taken_us = taken_us - taken_us % 1
      used_up_us = used_up_us + (taken_us < period_us and taken_us or period_us)
      rates[i + 2] = used_up_us
      local left_us, left = now_us + period_us - used_up_us, 0
      if left_us > 0 then
        left = left_us * limit / period_us
        left = left - left % 1
      elseif -left_us > wait_us then
        wait_us = -left_us
      end
      if not least or left < least then least, narrowest, reset_us = left, limit, used_up_us - now_us end
    end
  end
  return wait_us, least, narrowest, reset_us
end
-- Takes `count` from every rate of one kind (`first`: REQUESTS or TOKENS), in the scopes but not yet in Redis. Returns how
-- long it is until all of it fits, in µs (0: now; nil: never), and the rate that has least left, as
-- limit/remaining/reset_us (reset: until all of it is there again), or - if there is none.
local function take(account_rates, key_rates, first, count)
  local wait_us, least, narrowest, reset_us = 0, nil, nil, nil
  if account_rates then wait_us, least, narrowest, reset_us = take_of(account_rates, first, count, 0) end
  if key_rates and wait_us then
    wait_us, least, narrowest, reset_us = take_of(key_rates, first, count, wait_us, least, narrowest, reset_us)
  end
  return wait_us, least and string.format('%d/%d/%d', narrowest, least, reset_us) or '-'
end
-- How much is left while nothing is taken.
local function standing_rates(limits, key_limits)
  local account_rates, key_rates = unpack_limits(limits), unpack_limits(key_limits)
  local _, requests = take(account_rates, key_rates, REQUESTS, 0)
  local _, tokens_left = take(account_rates, key_rates, TOKENS, 0)
  return requests .. ' ' .. tokens_left
end

-- Part: GCRA over the rates of both scopes. Expects limits.lua, `now_us`; limits come as stored, packed or false. A burst
-- of a whole period passes at once; intervals are rounded down, so that a period's worth always fits into a period.
local function unpack_scopes(limits, key_limits) return {unpack_limits(limits), unpack_limits(key_limits)} end
-- Takes `count` from every rate of one kind (`first`: REQUESTS or TOKENS), in `scopes` but not yet in Redis. Returns how
-- long it is until all of it fits, in µs (0: now; nil: never), and the rate that has least left, as
-- limit/remaining/reset_us (reset: until all of it is there again), or - if there is none.
local function take(scopes, first, count)
  local wait_us, least, narrowest, reset_us = 0, nil, nil, nil
  for scope = 1, 2 do
    local rates = scopes[scope]
    for i = first, first + 3, 3 do
      local limit = rates and rates[i] or 0
      if limit > 0 then
        if count > limit then return nil end
        local period_us = rates[i + 1] * 1000000
        local used_up_us = math.max(rates[i + 2], now_us) + math.min(math.floor(count * period_us / limit), period_us)
        local left_us = now_us + period_us - used_up_us
        local left = math.max(0, math.floor(left_us * limit / period_us))
        rates[i + 2] = used_up_us
        wait_us = math.max(wait_us, -left_us)
        if not least or left < least then least, narrowest, reset_us = left, limit, used_up_us - now_us end
      end
    end
  end
  return wait_us, least and string.format('%d/%d/%.0f', narrowest, least, reset_us) or '-'
end
-- How much is left while nothing is taken.
local function standing_rates(limits, key_limits)
  local scopes = unpack_scopes(limits, key_limits)
  local _, requests = take(scopes, REQUESTS, 0)
  local _, tokens_left = take(scopes, TOKENS, 0)
  return requests .. ' ' .. tokens_left
end

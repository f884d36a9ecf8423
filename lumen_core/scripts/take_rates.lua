-- Part: GCRA over the rates of a scope. Expects readiness.lua, limits.lua, `now_us`. A burst of a whole period passes at
-- once; intervals are rounded down, so that a period's worth always fits into a period.
-- Written without functions, also those of `math`, of which each call costs more than all the arithmetic here:
-- `x - x % 1` is the whole part of a number.

-- Takes a request with so many tokens from a scope's limits, which are packed. Returns them packed anew, how many requests
-- may run at once (0: any number), and how long it is until all of the requests' rates let it pass, and until all of the
-- tokens' rates do, in µs (0: now; nil: never).
local function take_rates(limits, tokens)
  local limit1, period1, used_up1, limit2, period2, used_up2, limit3, period3, used_up3, limit4, period4, used_up4, most =
    unpack_numbers(LIMITS, limits)
  if limit3 > 0 and tokens > limit3 or limit4 > 0 and tokens > limit4 then return nil, most, 0, nil end
  local requests_wait_us, tokens_wait_us = 0, 0
  if limit1 > 0 then
    local period_us = period1 * 1000000
    local taken_us = period_us / limit1
    used_up1 = (used_up1 < now_us and now_us or used_up1) + (taken_us - taken_us % 1)
    local wait_us = used_up1 - now_us - period_us
    if wait_us > 0 then requests_wait_us = wait_us end
  end
  if limit2 > 0 then
    local period_us = period2 * 1000000
    local taken_us = period_us / limit2
    used_up2 = (used_up2 < now_us and now_us or used_up2) + (taken_us - taken_us % 1)
    local wait_us = used_up2 - now_us - period_us
    if wait_us > requests_wait_us then requests_wait_us = wait_us end
  end
  if limit3 > 0 then
    local period_us = period3 * 1000000
    local taken_us = tokens * period_us / limit3
    used_up3 = (used_up3 < now_us and now_us or used_up3) + (taken_us - taken_us % 1)
    local wait_us = used_up3 - now_us - period_us
    if wait_us > 0 then tokens_wait_us = wait_us end
  end
  if limit4 > 0 then
    local period_us = period4 * 1000000
    local taken_us = tokens * period_us / limit4
    used_up4 = (used_up4 < now_us and now_us or used_up4) + (taken_us - taken_us % 1)
    local wait_us = used_up4 - now_us - period_us
    if wait_us > tokens_wait_us then tokens_wait_us = wait_us end
  end
  return pack_numbers(LIMITS, limit1, period1, used_up1, limit2, period2, used_up2, limit3, period3, used_up3, limit4,
    period4, used_up4, most), most, requests_wait_us, tokens_wait_us
end

-- A reply with the rates it is about, behind which the caller works out what is left: much cheaper there than here.
-- A letter (a: the account's limits, k: the key's, b: both) and these, as they are stored, then the time in µs.
local now_text
local function with_rates(limits, key_limits, reply)
  if not limits and not key_limits then return reply end
  now_text = now_text or format('%d ', now_us)
  return (limits and (key_limits and 'b' or 'a') or 'k') .. (limits or '') .. (key_limits or '') .. now_text .. reply
end

-- Part: GCRA over the rates of a scope. Expects readiness.lua, limits.lua, `now_us`. A burst of a whole period passes at
-- once; intervals are rounded down, so that a period's worth always fits into a period.
-- Written without the functions of `math`, of which each call costs more than all the arithmetic here: `x - x % 1` is the
-- whole part of a number.

-- Takes `count` from a rate. Returns until when it is used up then, and how long it is until that fits, in µs (at most 0:
-- now; nil: never).
local function take(limit, period_s, used_up_us, count)
  if count > limit then return used_up_us, nil end
  local period_us = period_s * 1000000
  if used_up_us < now_us then used_up_us = now_us end
  local taken_us = count * period_us / limit
  taken_us = taken_us - taken_us % 1
  used_up_us = used_up_us + (taken_us < period_us and taken_us or period_us)
  return used_up_us, used_up_us - now_us - period_us
end

-- Takes a request with so many tokens from a scope's limits, which are packed. Returns them packed anew, how many requests
-- may run at once (0: any number), and how long it is until all of the requests' rates let it pass, and until all of the
-- tokens' rates do, in µs (0: now; nil: never).
local function take_rates(limits, tokens)
  local limit1, period1, used_up1, limit2, period2, used_up2, limit3, period3, used_up3, limit4, period4, used_up4, most =
    unpack_numbers(LIMITS, limits)
  local requests_wait_us, tokens_wait_us, wait_us = 0, 0, nil
  if limit1 > 0 then
    used_up1, wait_us = take(limit1, period1, used_up1, 1)
    if wait_us > requests_wait_us then requests_wait_us = wait_us end
  end
  if limit2 > 0 then
    used_up2, wait_us = take(limit2, period2, used_up2, 1)
    if wait_us > requests_wait_us then requests_wait_us = wait_us end
  end
  if limit3 > 0 then
    used_up3, wait_us = take(limit3, period3, used_up3, tokens)
    if not wait_us or wait_us > tokens_wait_us then tokens_wait_us = wait_us end
  end
  if limit4 > 0 and tokens_wait_us then
    used_up4, wait_us = take(limit4, period4, used_up4, tokens)
    if not wait_us or wait_us > tokens_wait_us then tokens_wait_us = wait_us end
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

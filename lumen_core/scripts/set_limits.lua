-- Part: the limits as ARGV has them from `first` on (concurrency, then limit and period of four rates), packed.
-- Expects amounts.lua and limits.lua. `stored` is the packed field so far, or false: a rate that stays as it is keeps
-- its time, a new one begins unused. Returns RANGE for numbers that cannot be; else nil, and the text, '' for no limits.
local CONCURRENCY = 13  -- of the thirteen numbers
local MOST = 4000000000  -- fits four bytes, and as seconds into M µs
local function configured_limits(first, stored)
  local old, limits, any = stored and {unpack_numbers(LIMITS, stored)} or {}, {}, false
  for i = first, first + 8 do
    local number = amount(ARGV[i])
    if not number or number > MOST then return 'RANGE' end
    any = any or number > 0
  end
  limits[CONCURRENCY] = tonumber(ARGV[first])
  for rate = 0, 3 do
    local limit, period_s = tonumber(ARGV[first + 1 + 2 * rate]), tonumber(ARGV[first + 2 + 2 * rate])
    if limit > 0 and period_s == 0 then return 'RANGE' end
    local i = 1 + 3 * rate
    limits[i], limits[i + 1] = limit, period_s
    limits[i + 2] = old[i] == limit and old[i + 1] == period_s and old[i + 2] or 0
  end
  return nil, any and pack_numbers(LIMITS, unpack(limits, 1, CONCURRENCY)) or ''
end
local function store_or_drop(hash, field, value)
  if value == '' then call('HDEL', hash, field) else call('HSET', hash, field, value) end
end

-- Part: the server's clock. Leaves `now_us` and `now_ms`, whole numbers. `now_us` has 16 digits: never through `..`.
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)

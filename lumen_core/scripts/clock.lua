-- Part: the server's clock. Leaves `now_us` and `now_ms`, whole numbers. `now_us` has 16 digits: never through `..`.
local seconds, microseconds = unpack(redis.call('TIME'))
local now_us = seconds * 1000000 + microseconds
local now_ms = math.floor(now_us / 1000)

-- Part: the limits of a scope, which is an account or a key: two rates of requests, two of tokens, and concurrency (0:
-- no limit). A rate is a limit, its period in seconds, and the time in µs until which it is used up: the theoretical
-- arrival time of GCRA. All are one packed field, `limits`, that a scope without any has not; as text they would take
-- longer to read than all the rest of an admission. `lumen-admind inspect` shows them to people.
local LIMITS = '<I4I4I7I4I4I7I4I4I7I4I4I7I4'
local REQUESTS, TOKENS, CONCURRENCY = 1, 7, 13  -- where each begins among the thirteen numbers
local LATEST_US = 9000000000000000  -- below 2^53
local function unpack_limits(text) return text and {struct.unpack(LIMITS, text)} or nil end
local function pack_limits(limits) return struct.pack(LIMITS, unpack(limits, 1, 13)) end

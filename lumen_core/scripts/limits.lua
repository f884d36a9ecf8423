-- Part: the limits of a scope, which is an account or a key: two rates of requests, two of tokens, and concurrency (0:
-- no limit). A rate is a limit, its period in seconds, and the time in µs until which it is used up: the theoretical
-- arrival time of GCRA. All are one packed field, `limits`, that a scope without any has not; as text they would take
-- longer to read than all the rest of an admission. `lumen-admind inspect` shows them to people.
local LIMITS = '<I4I4I7I4I4I7I4I4I7I4I4I7I4'
local unpack_numbers, pack_numbers = struct.unpack, struct.pack

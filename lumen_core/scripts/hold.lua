-- Part: takes a hold apart, as far as it is needed to end it, and makes sure that it is the caller's; a stranger's is a
-- bug of the caller: RANGE. Expects `hold` (text) and `owner`, account and key as `17 4`. Leaves hold_amount as text,
-- hold_limited and hold_counted, and where its tokens stand: tokens_at.
local hold_amount, hold_flags, hold_owner, tokens_at = match(hold, '^(%d+) %d+ %d+ (%a%a) (%d+ %d+) ()')
if hold_owner ~= owner then return 'RANGE' end
local hold_limited = hold_flags == 'ln' or hold_flags == 'lc'
local hold_counted = hold_flags == 'lc' or hold_flags == 'uc'

-- Part: takes a hold apart, as far as it is needed to end it, and makes sure that it is the caller's; a stranger's is a
-- bug of the caller: RANGE. Expects `hold` (text) and `owner`, account and key as `17 4`. Leaves as text hold_amount,
-- hold_tokens; hold_limited: l or u; hold_counted: c or n.
local hold_amount, hold_limited, hold_counted, hold_owner, hold_tokens =
  string.match(hold, '^(%d+) %d+ %d+ (%a)(%a) (%d+ %d+) (%d+) ')
if hold_owner ~= owner then return 'RANGE' end

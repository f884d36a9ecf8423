-- Part: takes a hold apart and makes sure that it is the caller's; a stranger's is a bug of the caller: RANGE.
-- Expects `hold` (text), `account`, `key`. Leaves its fields as text; `hold_limited`: l or u; `hold_counted`: c or n.
local hold_amount, hold_shadow, hold_deadline_ms, hold_limited, hold_counted, hold_account, hold_key, hold_tokens,
  hold_blob = string.match(hold, '^(%d+) (%d+) (%d+) (%a)(%a) (%d+) (%d+) (%d+) (.*)$')
if hold_account ~= account or hold_key ~= key then return 'RANGE' end

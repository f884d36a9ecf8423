-- Part: tests 1 to 3 of admission (ledger.md §4): is it this key, is it alive, are the rights as the worker believes?
-- Expects `call`, `now_ms`, the key `of_key`; from the caller `account`, `policies`; from the key
-- `key_account`, `key_state`, `key_expires_ms`, `key_pol`; from the account `state`, `pol`.
if key_account ~= account then return 'NOKEY' end
if key_state ~= '1' then return 'REVOKED' end
if key_expires_ms ~= '0' and now_ms >= tonumber(key_expires_ms) then return 'EXPIRED' end
if not state then return 'NOACCT' end
if state ~= '1' then
  call('HSET', of_key, 'last', now_ms)
  return 'DISABLED'
end
-- A worker that knows no policy believes `?`, which is nobody's, not even an account's that has none.
if policies ~= pol .. ' ' .. key_pol then return 'POLICY ' .. pol .. ' ' .. key_pol end

-- Part: one less of what is in flight. Few requests of an account run at once, and to make a number of a text and a text
-- of the number again takes longer than to look it up.
local ONE_LESS = {['1'] = '0', ['2'] = '1', ['3'] = '2', ['4'] = '3'}

-- Nothing looks up a key's counters by account: they are read by key, or summed over all. Each new key paid for the index.
drop index key_totals_account;

-- What `lumen-admind import-ncsa` has brought over, so that a second run changes nothing.

create table ncsa_imports (
    kind text not null,
    old_id bigint not null,
    new_id bigint not null,
    imported_at timestamptz not null default now(),
    primary key (kind, old_id)
);
comment on table ncsa_imports is 'Rows of NCSA Lumen''s database that are here: entity → account, key → key, balance and usage → account.';

create table account_conversations (
    account_id bigint primary key references accounts (id),
    conversations bigint not null
);
comment on table account_conversations is 'Conversations an account had before it came here; only their number is kept.';

create table past_usage (
    account_id bigint primary key references accounts (id),
    cost bigint not null,
    tokens_in bigint not null,
    tokens_out bigint not null
);
comment on table past_usage is 'Use of an account from before it was here: in its counters, but no row of the ledger.';

create view charged_use as
select account_id, cost, tokens_in, tokens_out
  from ledger_events
 where kind in (1, 5, 6)
union all
select account_id, cost, tokens_in, tokens_out
  from past_usage;
comment on view charged_use is 'What the counters of an account are the sum of (I16).';

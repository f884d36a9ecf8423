-- What a later version may well do to tables that requests, drains and pages use all the time: columns, one with a
-- default and one with a check, and indexes on the largest of them.
alter table accounts add column next_note text;
alter table account_balances add column next_count bigint not null default 0;
alter table api_keys add column next_label text constraint api_keys_next_label check (length(next_label) <= 100);
alter table key_totals add column next_count bigint not null default 0;
alter table money_ops add column next_note text;
alter table users add column next_language text not null default 'en';
alter table ledger_events add column next_region smallint;
alter table usage_quarter add column next_count bigint not null default 0;
create index ledger_events_next on ledger_events (model_id, at);
create index users_next on users (next_language);

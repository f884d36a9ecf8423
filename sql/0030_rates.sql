-- Rates with periods of their own: up to two of requests and two of tokens, for an account and for a key.
-- Versions grow where there are limits, as Redis keeps them in another form from here on and must be told anew.

alter table accounts
    add column request_rates text not null default '',
    add column token_rates text not null default '';
alter table api_keys
    add column request_rates text not null default '',
    add column token_rates text not null default '';

update accounts
set request_rates = case when requests_per_minute > 0 then requests_per_minute || '/60' else '' end,
    token_rates = case when tokens_per_minute > 0 then tokens_per_minute || '/60' else '' end,
    cfg_ver = cfg_ver + 1
where requests_per_minute > 0 or tokens_per_minute > 0 or concurrency > 0;
update api_keys
set request_rates = case when requests_per_minute > 0 then requests_per_minute || '/60' else '' end,
    token_rates = case when tokens_per_minute > 0 then tokens_per_minute || '/60' else '' end,
    ver = ver + 1
where state <> 2 and (requests_per_minute > 0 or tokens_per_minute > 0 or concurrency > 0);

-- The constraint on limits names these columns and goes with them.
alter table accounts
    drop column requests_per_minute,
    drop column tokens_per_minute,
    add constraint accounts_concurrency check (concurrency >= 0),
    add constraint accounts_rates check (
        request_rates ~ '^([1-9][0-9]{0,9}/[1-9][0-9]{0,9}( [1-9][0-9]{0,9}/[1-9][0-9]{0,9})?)?$'
        and token_rates ~ '^([1-9][0-9]{0,9}/[1-9][0-9]{0,9}( [1-9][0-9]{0,9}/[1-9][0-9]{0,9})?)?$');
alter table api_keys
    drop column requests_per_minute,
    drop column tokens_per_minute,
    add constraint api_keys_concurrency check (concurrency >= 0),
    add constraint api_keys_rates check (
        request_rates ~ '^([1-9][0-9]{0,9}/[1-9][0-9]{0,9}( [1-9][0-9]{0,9}/[1-9][0-9]{0,9})?)?$'
        and token_rates ~ '^([1-9][0-9]{0,9}/[1-9][0-9]{0,9}( [1-9][0-9]{0,9}/[1-9][0-9]{0,9})?)?$');
comment on column accounts.concurrency is 'Running requests; 0: any number.';
comment on column accounts.request_rates is
    'At most two of `limit/period in seconds`, separated by a space; empty: no limit. Likewise token_rates.';
comment on column api_keys.request_rates is 'As in accounts: the site''s, or the key''s own where that is stricter.';
comment on column api_keys.own_requests_per_minute is
    'What its owner asked for; request_rates has that or the site''s, whichever is stricter. Likewise tokens.';

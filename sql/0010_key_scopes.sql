-- What a key may be narrowed to: models, addresses, and rates stricter than the site's.

alter table policies
    add column any_model boolean not null default false,
    add column addresses text[] not null default '{}';
comment on column policies.any_model is 'Of a key that names no models: the account''s verdicts stand alone.';
comment on column policies.addresses is 'Of a key: ranges (CIDR) its callers must come from; empty: anywhere.';

alter table api_keys
    add column models bigint[],
    add column allowed_ips text[] not null default '{}',
    add column own_requests_per_minute bigint,
    add column own_tokens_per_minute bigint,
    add constraint api_keys_own_rates check (own_requests_per_minute > 0 and own_tokens_per_minute > 0);
comment on column api_keys.models is 'Ids of the only models it may use, ascending; null: whatever the account may.';
comment on column api_keys.allowed_ips is 'Ranges (CIDR) it may be used from; empty: anywhere.';
comment on column api_keys.own_requests_per_minute is
    'What its owner asked for; requests_per_minute is that or the site''s, whichever is stricter. Likewise tokens.';

-- Two managers of a project may each have the dialog open.
alter table key_drafts
    add column by_user bigint not null default 0,
    drop constraint key_drafts_pkey,
    add constraint key_drafts_pkey primary key (account_id, by_user);
comment on table key_drafts is
    'A generated key before Save Key: its hash only, so it cannot authenticate; one per account and person.';
comment on column key_drafts.by_user is '0: an operator.';

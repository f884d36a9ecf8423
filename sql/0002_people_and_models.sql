-- People, groups, models and what admind itself remembers. Money is in 0001_ledger.sql.

create table users (
    id bigint generated always as identity primary key,
    account_id bigint not null references accounts (id),
    email text not null,
    name text not null,
    active boolean not null default true,
    joined_at timestamptz not null default now(),
    sessions_since timestamptz not null default '-infinity',
    constraint users_account_unique unique (account_id),
    constraint users_email_lower check (email = lower(email)),
    constraint users_email_unique unique (email),
    constraint users_text_bounds check (length(email) <= 254 and length(name) between 1 and 200)
);
comment on table users is 'People; each owns one account. Rights are read from here on every request.';
comment on column users.sessions_since is 'Sessions begun earlier no longer count; deactivation moves it.';

create table groups (
    id bigint generated always as identity primary key,
    name text not null,
    description text not null default '',
    active boolean not null default true,
    max_nano bigint,
    refresh_nano bigint,
    starting_nano bigint,
    strict boolean,
    access_default smallint,
    allowed text[] not null default '{}',
    blocked text[] not null default '{}',
    rules jsonb not null default '[]',
    constraint groups_name_unique unique (name),
    constraint groups_amounts check (
        (max_nano = -2 or max_nano between 0 and 4000000000000000)
        and refresh_nano between 0 and 4000000000000000
        and starting_nano between 0 and 4000000000000000),
    constraint groups_access check (access_default in (0, 1))
);
comment on table groups is 'Groups as the leader''s lumen.yaml states them; one that left the file becomes inactive.';
comment on column groups.max_nano is 'Limit in nano-coins; -2 unlimited; null: the group says nothing about coins.';
comment on column groups.access_default is '0 blocked, 1 allowed, null: not said.';
comment on column groups.allowed is 'Names of models, as lumen.yaml lists them; likewise blocked.';

create table memberships (
    account_id bigint not null references accounts (id),
    group_id bigint not null references groups (id),
    via text not null,
    primary key (account_id, group_id),
    constraint memberships_via check (via in ('config', 'rule', 'manual'))
);
create index memberships_group on memberships (group_id);

create table account_rules (
    account_id bigint primary key references accounts (id),
    limits_from text,
    max_nano bigint,
    refresh_nano bigint,
    starting_nano bigint,
    strict boolean,
    starting_done boolean not null default false,
    access_from text,
    access_default smallint,
    allowed text[] not null default '{}',
    blocked text[] not null default '{}',
    constraint account_rules_from check (limits_from in ('config', 'admin') and access_from in ('config', 'admin')),
    constraint account_rules_amounts check (
        (max_nano = -2 or max_nano between 0 and 4000000000000000)
        and refresh_nano between 0 and 4000000000000000
        and starting_nano between 0 and 4000000000000000),
    constraint account_rules_access check (access_default in (0, 1))
);
comment on table account_rules is 'What is said about one account itself, before groups and defaults (resolved into accounts).';
comment on column account_rules.starting_done is
    'The starting coins were decided at the account''s first limit above zero; later edits of `starting` move nothing.';
comment on column account_rules.limits_from is 'Who set the limits: lumen.yaml or an administrator; null: nobody, they are inherited.';

create table models (
    id bigint generated always as identity primary key,
    name text not null,
    disabled boolean not null default false,
    removed boolean not null default false,
    access smallint,
    hide_when_blocked boolean not null default false,
    needs_ack boolean not null default false,
    ack_message text not null default '',
    notice_version integer not null default 1,
    consent_since integer not null default 1,
    prefix_affinity boolean not null default false,
    context_window bigint,
    max_output_tokens bigint,
    card jsonb not null default '{}',
    created_at timestamptz not null default now(),
    constraint models_name_unique unique (name),
    constraint models_access check (access in (0, 1)),
    constraint models_notice check (consent_since between 1 and notice_version)
);
comment on table models is 'Models; one that left lumen.yaml is removed = disabled, its history stays.';
comment on column models.notice_version is 'Grows whenever ack_message changes.';
comment on column models.consent_since is 'Consents to an older notice no longer count.';
comment on column models.card is 'What only pages and listings show: description, url, notice, modalities, …';

create table price_points (
    id bigint generated always as identity primary key,
    model_id bigint not null references models (id),
    since timestamptz not null,
    constraint price_points_unique unique (model_id, since)
);
comment on table price_points is
    'Moments from which a model''s whole set of prices is in force: the price_id of a ledger row. The meters themselves: '
    'prices, valid at that moment.';

create table endpoints (
    id bigint generated always as identity primary key,
    model_id bigint not null references models (id),
    name text not null,
    url text not null,
    upstream_model text not null,
    credential text not null default '',
    weight integer not null default 1,
    state text not null default 'active',
    removed boolean not null default false,
    constraint endpoints_name_unique unique (model_id, name),
    constraint endpoints_weight check (weight between 1 and 100),
    constraint endpoints_state check (state in ('active', 'draining'))
);
comment on column endpoints.credential is 'Sealed under the installation secret (lumen_core/catalogue.h); never plain.';

create table policies (
    id bigint generated always as identity primary key,
    strict boolean not null,
    allowed bigint[] not null,
    needs_consent bigint[] not null,
    digest bytea not null,
    last_used_at timestamptz not null default now(),
    constraint policies_digest_unique unique (digest)
);
comment on table policies is
    'Verdict per model, shared by all accounts with equal results; ids of models ascending. Immutable, ids never reused.';
comment on column policies.digest is 'SHA-256 of the canonical text of the three columns before it.';

create sequence catalogue_version;
comment on sequence catalogue_version is 'A number is never used for two documents, not even after a failed publication.';

create table key_drafts (
    account_id bigint primary key references accounts (id),
    id uuid not null,
    key_hash bytea not null,
    hint text not null,
    expires_at timestamptz not null,
    constraint key_drafts_id_unique unique (id),
    constraint key_drafts_hash check (octet_length(key_hash) = 32)
);
comment on table key_drafts is 'A generated key before Save Key: its hash only, so it cannot authenticate; one per account.';

create table operator_tokens (
    id bigint generated always as identity primary key,
    name text not null,
    scope text not null,
    hint text not null,
    token_hash bytea not null,
    created_at timestamptz not null default now(),
    created_by text not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    constraint operator_tokens_hash_unique unique (token_hash),
    constraint operator_tokens_scope check (scope in ('read', 'write', 'admin')),
    constraint operator_tokens_name check (length(name) between 1 and 64)
);

create table idempotency_keys (
    caller text not null,
    route text not null,
    key text not null,
    body_hash bytea not null,
    status smallint,
    answer text,
    begun_at timestamptz not null default now(),
    primary key (caller, route, key)
);
create index idempotency_keys_begun on idempotency_keys (begun_at);
comment on table idempotency_keys is 'Answers of $ routes for 24 hours; status null: still running, or its process died.';

create table audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null,
    action text not null,
    target text not null,
    detail jsonb not null default '{}',
    request_id uuid not null
);
create index audit_log_at on audit_log (at);
comment on table audit_log is 'Writes by administrators and operators; never a secret.';

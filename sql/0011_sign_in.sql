-- Who signs in: identities at the provider, and what it last said about each person.

create table identities (
    issuer text not null,
    subject text not null,
    user_id bigint not null references users (id),
    created_at timestamptz not null default now(),
    last_sign_in_at timestamptz not null default now(),
    constraint identities_pkey primary key (issuer, subject)
);
create index identities_user on identities (user_id);
comment on table identities is
    'A person is found by the provider''s subject first, so that a changed address does not make another person of them.';

create table sign_in_claims (
    account_id bigint primary key references accounts (id),
    claims jsonb not null,
    at timestamptz not null default now()
);
comment on table sign_in_claims is 'Claims of each person''s last sign-in: group rules are applied to them anew when rules change.';

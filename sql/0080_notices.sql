-- Notices of an empty and a nearly empty wallet: who wants them, which crossing was one, and what is still to be sent.
alter table users add column notice_mail boolean not null default false;
alter table users add column notice_webhook boolean not null default false;
comment on column users.notice_mail is 'Wants notices about the wallets that are theirs by mail; notice_webhook: through the site''s webhook.';

create table site_state (
    only_row boolean primary key default true,
    low_balance_percent smallint not null default 20,
    offers_mail boolean not null default false,
    offers_webhook boolean not null default false,
    announcement text,
    admins text[],
    constraint site_state_only_row check (only_row),
    constraint site_state_percent check (low_balance_percent between 1 and 99)
);
comment on table site_state is
    'What the leader''s lumen.yaml says, as far as every drainer must agree on it or open pages were told of it.';
comment on column site_state.announcement is 'As open pages were last told it; likewise admins, whose streams a change ends.';
insert into site_state default values;

create table notices (
    id uuid primary key default gen_random_uuid(),
    account_id bigint not null references accounts (id),
    seq bigint not null,
    kind text not null,
    at timestamptz not null default now(),
    balance bigint not null,
    lim bigint not null,
    constraint notices_once unique (account_id, seq),
    constraint notices_kind check (kind in ('low_balance', 'exhausted'))
);
create index notices_at on notices (at);
comment on table notices is
    'Each time a balance went from above a threshold to it or below; written in the transaction that drains the event, so once.';
comment on column notices.seq is 'The account''s money event that ended at or below the threshold.';

create table notice_deliveries (
    id uuid primary key default gen_random_uuid(),
    notice_id uuid not null references notices (id) on delete cascade,
    user_id bigint not null references users (id),
    channel text not null,
    state text not null default 'pending',
    attempts integer not null default 0,
    next_at timestamptz not null default now(),
    done_at timestamptz,
    error text not null default '',
    constraint notice_deliveries_once unique (notice_id, user_id, channel),
    constraint notice_deliveries_channel check (channel in ('mail', 'webhook')),
    constraint notice_deliveries_state check (state in ('pending', 'sent', 'dead', 'dropped')),
    constraint notice_deliveries_done check ((state = 'pending') = (done_at is null))
);
create index notice_deliveries_due on notice_deliveries (channel, next_at) where state = 'pending';
create index notice_deliveries_dead on notice_deliveries (done_at) where state = 'dead';
comment on table notice_deliveries is
    'The outbox: a notice to one person by one way. Its id goes with every attempt, so a receiver knows a repeat.';
comment on column notice_deliveries.state is
    'dead: given up, an operator should look; dropped: no longer wanted when its turn came.';
comment on column notice_deliveries.next_at is 'Not before; moved into the future by an attempt that begins, so a crash repeats it.';

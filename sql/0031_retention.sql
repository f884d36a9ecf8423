-- Retention: months of the ledger leave for the schema ledger_archive, quarters of an hour become days. What was taken
-- out of sight is still counted, so that every balance and every counter stays the sum of something.

create schema ledger_archive;
comment on schema ledger_archive is 'Months of ledger_events that are out of sight; dump them, and drop them when the dump is safe.';

create table ledger_archives (
    name text primary key,
    begins timestamptz not null,
    ends timestamptz not null,
    events bigint not null,
    archived_at timestamptz not null default now()
);
comment on table ledger_archives is 'Which months were archived; their tables are, or were, in the schema ledger_archive.';

create table ledger_archived_accounts (
    account_id bigint primary key,
    delta bigint not null,
    last_seq bigint not null,
    events bigint not null,
    cost bigint not null,
    tokens_in bigint not null,
    tokens_out bigint not null
);
comment on table ledger_archived_accounts is
    'Per account the sum of its archived events: balance = delta of these + Σ delta of ledger_events (I2).';
comment on column ledger_archived_accounts.events is 'Those with a seq; late ones move nothing.';

create table ledger_archived_buckets (
    bucket smallint primary key,
    events bigint not null,
    last_bseq bigint not null
);
comment on table ledger_archived_buckets is 'How many archived events each stream had, and the highest number among them (I3).';

create function ledger_archive_month(keep_months integer) returns text
language plpgsql
as $$
declare
    cutoff timestamp := date_trunc('month', now() at time zone 'UTC') - make_interval(months => keep_months);
    partition text;
    month timestamp;
    moved bigint;
begin
    -- The oldest month that ended before the cutoff; named by ledger_create_partitions.
    select c.relname, to_timestamp(right(c.relname, 7), 'YYYY_MM') at time zone current_setting('timezone')
      into partition, month
      from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'ledger_events'::regclass
       and c.relname ~ '^ledger_events_\d{4}_\d\d$'
       and to_timestamp(right(c.relname, 7), 'YYYY_MM') at time zone current_setting('timezone') < cutoff
     order by c.relname
     limit 1;
    if partition is null then
        return null;
    end if;
    -- No row comes in between counting and leaving; the other months go on.
    execute format('lock table only %I in share row exclusive mode', partition);
    execute format(
        'insert into ledger_archived_accounts as a
         select account_id, sum(delta), coalesce(max(seq), 0), count(seq),
                coalesce(sum(cost) filter (where kind in (1, 5, 6)), 0),
                coalesce(sum(tokens_in) filter (where kind in (1, 5, 6)), 0),
                coalesce(sum(tokens_out) filter (where kind in (1, 5, 6)), 0)
           from %I
          group by account_id
         on conflict (account_id) do update
            set delta = a.delta + excluded.delta, last_seq = greatest(a.last_seq, excluded.last_seq),
                events = a.events + excluded.events, cost = a.cost + excluded.cost,
                tokens_in = a.tokens_in + excluded.tokens_in, tokens_out = a.tokens_out + excluded.tokens_out',
        partition);
    execute format(
        'insert into ledger_archived_buckets as b
         select bucket, count(*), max(bseq) from %I group by bucket
         on conflict (bucket) do update
            set events = b.events + excluded.events, last_bseq = greatest(b.last_bseq, excluded.last_bseq)',
        partition);
    execute format('select count(*) from %I', partition) into moved;
    insert into ledger_archives (name, begins, ends, events)
    values (partition, month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC', moved);
    execute format('alter table ledger_events detach partition %I', partition);
    execute format('alter table %I set schema ledger_archive', partition);
    return partition;
end
$$;
comment on function ledger_archive_month is
    'Moves the oldest month that ended more than `keep_months` months ago to ledger_archive; its name, or null.';

-- Rows lie in the order of time: a few pages of this index find a day.
create index usage_quarter_slot on usage_quarter using brin (slot) with (pages_per_range = 16);

create table usage_folded (
    only_row boolean primary key default true,
    until date not null,
    constraint usage_folded_only_row check (only_row)
);
comment on table usage_folded is 'Days (UTC) of usage_quarter before this one are one row a day.';
insert into usage_folded (until)
select coalesce((select min(slot at time zone 'UTC')::date from usage_quarter), (now() at time zone 'UTC')::date);

create function usage_fold_day(keep_months integer) returns boolean
language plpgsql
as $$
declare
    day date;
    begins timestamptz;
    ends timestamptz;
begin
    select until into day from usage_folded for update;
    if day >= (now() at time zone 'UTC')::date - make_interval(months => keep_months) then
        return false;
    end if;
    begins := day::timestamp at time zone 'UTC';
    ends := (day + 1)::timestamp at time zone 'UTC';
    create temporary table folding on commit drop as
    select * from usage_quarter where slot >= begins and slot < ends for update;
    delete from usage_quarter where slot >= begins and slot < ends;
    insert into usage_quarter
        (account_id, slot, key_id, model_id, source, endpoint_id, requests, tokens_in, tokens_out, cost, last_at)
    select account_id, begins, key_id, model_id, source, endpoint_id,
           sum(requests), sum(tokens_in), sum(tokens_out), sum(cost), max(last_at)
      from folding
     group by account_id, key_id, model_id, source, endpoint_id;
    drop table folding;
    update usage_folded set until = day + 1;
    return true;
end
$$;
comment on function usage_fold_day is
    'Makes one row of each account''s quarters of the oldest day older than `keep_months` months; false: none is left.';

-- What an account has used of each model since it began: a profile reads one row a model, however long its history is.
-- The database itself keeps the sums, so that whoever writes usage_quarter keeps them: the drain of this version, that
-- of the one before it during an upgrade, and imports.

create table model_totals (
    account_id bigint not null,
    model_id bigint not null,
    requests bigint not null,
    tokens_in bigint not null,
    tokens_out bigint not null,
    spent bigint not null,
    last_used_at timestamptz,
    constraint model_totals_pkey primary key (account_id, model_id)
) with (fillfactor = 70);
comment on table model_totals is 'All-time counters of an account per model: the sums of its rows of usage_quarter (P25).';
comment on column model_totals.last_used_at is 'When the last request was settled; it never goes back.';

create function model_totals_follow() returns trigger
language plpgsql
as $$
begin
    -- A day that is folded stays the same sum: nothing to add, and no row of anybody's to lock for it.
    if current_setting('lumen.folds_a_day', true) = 'yes' then
        return null;
    end if;
    -- Always in one order: of two that write at once, one waits for the other.
    if tg_op = 'INSERT' then
        insert into model_totals as t (account_id, model_id, requests, tokens_in, tokens_out, spent, last_used_at)
        select account_id, model_id, sum(requests), sum(tokens_in), sum(tokens_out), sum(cost), max(last_at)
          from added
         group by account_id, model_id
         order by account_id, model_id
            on conflict on constraint model_totals_pkey do update
           set requests = t.requests + excluded.requests,
               tokens_in = t.tokens_in + excluded.tokens_in,
               tokens_out = t.tokens_out + excluded.tokens_out,
               spent = t.spent + excluded.spent,
               last_used_at = greatest(t.last_used_at, excluded.last_used_at);
    elsif tg_op = 'UPDATE' then
        insert into model_totals as t (account_id, model_id, requests, tokens_in, tokens_out, spent, last_used_at)
        select account_id, model_id, sum(requests), sum(tokens_in), sum(tokens_out), sum(cost), max(last_at)
          from (select account_id, model_id, requests, tokens_in, tokens_out, cost, last_at
                  from added
                 union all
                select account_id, model_id, -requests, -tokens_in, -tokens_out, -cost, null
                  from taken) changes
         group by account_id, model_id
         order by account_id, model_id
            on conflict on constraint model_totals_pkey do update
           set requests = t.requests + excluded.requests,
               tokens_in = t.tokens_in + excluded.tokens_in,
               tokens_out = t.tokens_out + excluded.tokens_out,
               spent = t.spent + excluded.spent,
               last_used_at = greatest(t.last_used_at, excluded.last_used_at);
    else
        update model_totals t
           set requests = t.requests - x.requests,
               tokens_in = t.tokens_in - x.tokens_in,
               tokens_out = t.tokens_out - x.tokens_out,
               spent = t.spent - x.cost
          from (select account_id, model_id, sum(requests) as requests, sum(tokens_in) as tokens_in,
                       sum(tokens_out) as tokens_out, sum(cost) as cost
                  from taken
                 group by account_id, model_id) x
         where t.account_id = x.account_id and t.model_id = x.model_id;
    end if;
    return null;
end
$$;
comment on function model_totals_follow is 'Adds to model_totals what a statement has changed in usage_quarter.';

-- From here on drains wait until this is committed, so nothing is counted twice or not at all; requests do not.
create trigger model_totals_added
after insert on usage_quarter
referencing new table as added
for each statement execute function model_totals_follow();

create trigger model_totals_changed
after update on usage_quarter
referencing old table as taken new table as added
for each statement execute function model_totals_follow();

create trigger model_totals_taken
after delete on usage_quarter
referencing old table as taken
for each statement execute function model_totals_follow();

insert into model_totals (account_id, model_id, requests, tokens_in, tokens_out, spent, last_used_at)
select account_id, model_id, sum(requests), sum(tokens_in), sum(tokens_out), sum(cost), max(last_at)
  from usage_quarter
 group by account_id, model_id;

create or replace function usage_fold_day(keep_months integer) returns boolean
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
    perform set_config('lumen.folds_a_day', 'yes', true);
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
    perform set_config('lumen.folds_a_day', 'no', true);
    update usage_folded set until = day + 1;
    return true;
end
$$;

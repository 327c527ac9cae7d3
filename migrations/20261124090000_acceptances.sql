-- Acceptances by the run. Nearly every fact says that a provider took a message, and nearly all of those come from the first owner of
-- a chunk, many at a time and with numbers beside each other. As a row each they cost 4 us of Postgres and 250 bytes of its log; as
-- arrays of a run of numbers a tenth. All other facts stay rows of `results`: what went wrong, few at a time, and what somebody else
-- than the first owner tells.
--
-- A fact is in one of the two only. A run is written under the lock of its chunk's row while its first owner holds it; rows are
-- appended where no run tells the same. Readers do not care: `facts_of` and `facts_between` give both.
create table acceptances (
    campaign_id uuid not null,
    last_n integer not null,
    attempt smallint not null,
    first_n integer not null,
    account_no smallint not null,
    -- Of first_n, of the number after it, and so on. Null where this run tells nothing of a number.
    ats timestamptz[] not null,
    provider_ids text[] not null,
    primary key (campaign_id, last_n, attempt),
    -- So that whoever looks for a number knows how far its run may reach.
    check (first_n > last_n - 1024 and cardinality(ats) = last_n - first_n + 1 and cardinality(provider_ids) = cardinality(ats))
) partition by range (campaign_id);
create table acceptances_other partition of acceptances default;
-- Of the months that results have: their campaigns may not be finished.
select ensure_partitions(least(min(to_date(right(c.relname, 7), 'YYYY_MM')), (now() at time zone 'UTC')::date),
                         ((now() at time zone 'UTC') + interval '2 months')::date)
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'results'::regclass and c.relname ~ '_\d{4}_\d{2}$';
select protect('acceptances', 'exists (select from campaigns p where p.id = campaign_id and p.tenant_id = this_tenant())');

-- What is known of the messages from number `first` to number `last`.
create function facts_between(campaign uuid, first integer, last integer)
returns table (campaign_id uuid, n integer, attempt smallint, kind smallint, account_no smallint, at timestamptz, reason text,
               detail text, provider_id text)
stable language sql as $$
    select r.campaign_id, r.n, r.attempt, r.kind, r.account_no, r.at, r.reason, r.detail, r.provider_id
    from results r where r.campaign_id = $1 and r.n between $2 and $3
    union all
    select a.campaign_id, one.n, a.attempt, 0::smallint, a.account_no, a.ats[one.n - a.first_n + 1], null, null,
           a.provider_ids[one.n - a.first_n + 1]
    from acceptances a
    cross join lateral generate_series(greatest(a.first_n, $2), least(a.last_n, $3)) as one (n)
    where a.campaign_id = $1 and a.last_n between $2 and $3 + 1023::bigint and a.first_n <= $3
      and a.ats[one.n - a.first_n + 1] is not null
$$;

-- What is known of one message.
create function facts_of(campaign uuid, number integer)
returns table (campaign_id uuid, n integer, attempt smallint, kind smallint, account_no smallint, at timestamptz, reason text,
               detail text, provider_id text)
stable language sql as $$
    select r.campaign_id, r.n, r.attempt, r.kind, r.account_no, r.at, r.reason, r.detail, r.provider_id
    from results r where r.campaign_id = $1 and r.n = $2
    union all
    select a.campaign_id, $2, a.attempt, 0::smallint, a.account_no, a.ats[$2 - a.first_n + 1], null, null,
           a.provider_ids[$2 - a.first_n + 1]
    from acceptances a
    where a.campaign_id = $1 and a.last_n between $2 and $2 + 1023::bigint and a.first_n <= $2 and a.ats[$2 - a.first_n + 1] is not null
$$;

-- Appends runs: of run `i`, what its messages are told of begins at `starts[i]` of the two last arrays. Facts that are known already
-- change nothing. That is so rare (a commit whose answer was lost) that it is only looked for once a plain insert has met one.
create function append_runs(
    campaigns uuid[], attempts smallint[], accounts smallint[], firsts integer[], lasts integer[], starts integer[],
    ats timestamptz[], provider_ids text[]
) returns void language plpgsql set plan_cache_mode = force_generic_plan as $$
begin
    insert into acceptances (campaign_id, last_n, attempt, first_n, account_no, ats, provider_ids)
    select campaigns[i], lasts[i], attempts[i], firsts[i], accounts[i],
           ats[starts[i] : starts[i] + lasts[i] - firsts[i]], provider_ids[starts[i] : starts[i] + lasts[i] - firsts[i]]
    from generate_subscripts(campaigns, 1) i;
exception when unique_violation then
    perform append_accepted(campaigns, attempts, accounts, array_agg(i), array_agg(n), array_agg(ats[starts[i] + n - firsts[i]]),
                            array_agg(provider_ids[starts[i] + n - firsts[i]]))
    from generate_subscripts(campaigns, 1) i cross join lateral generate_series(firsts[i], lasts[i]) n
    where ats[starts[i] + n - firsts[i]] is not null;
end $$;

-- As before, and only where no run tells the same. Few come this way now: that each looks for what conflicts costs little.
-- `offset 0`: one by one, whatever the statistics say.
create or replace function append_accepted(
    campaigns uuid[], attempts smallint[], accounts smallint[],
    groups integer[], ns integer[], ats timestamptz[], provider_ids text[]
) returns void language plpgsql set plan_cache_mode = force_generic_plan as $$
begin
    insert into results (campaign_id, n, attempt, kind, account_no, at, provider_id)
    select campaigns[f.of], f.n, attempts[f.of], 0, accounts[f.of], f.at, f.id
    from unnest(groups, ns, ats, provider_ids) as f (of, n, at, id)
    where not exists (select from acceptances a
                      where a.campaign_id = campaigns[f.of] and a.last_n between f.n and f.n + 1023::bigint and a.first_n <= f.n
                        and a.attempt = attempts[f.of] and a.ats[f.n - a.first_n + 1] is not null offset 0)
    on conflict do nothing;
end $$;

-- As before, of the facts of both tables.
create or replace function recount_chunks(p_campaigns uuid[], p_nos bigint[]) returns void language plpgsql as $$
declare
    chunk chunks;
begin
    for chunk in
        select c.* from chunks c
        join (select distinct * from unnest(p_campaigns, p_nos) as w (campaign_id, no)) w using (campaign_id, no)
        order by c.campaign_id, c.no
        for update of c
    loop
        update chunks set
            accepted = facts.accepted, failed = facts.failed, suppressed = facts.suppressed,
            unknown = facts.unknown, moved = facts.moved,
            done_at = case when facts.members = size then coalesce(done_at, now()) end
        from (
            select count(*) as members,
                   count(*) filter (where kind = 0) as accepted,
                   count(*) filter (where kind = 1) as moved,
                   count(*) filter (where kind = 2) as failed,
                   count(*) filter (where kind = 3) as suppressed,
                   count(*) filter (where kind in (4, 5)) as unknown
            from (
                -- Who moved on is counted there; else of several facts the most certain holds.
                select distinct on (n) kind from (
                    select r.n, r.kind from facts_between(chunk.campaign_id, chunk.first_n, chunk.last_n) r
                    where r.attempt = chunk.attempt
                    union all
                    select member.n, r.kind from unnest(chunk.members) as member (n)
                    cross join lateral (select f.kind from facts_of(chunk.campaign_id, member.n) f
                                        where f.attempt = chunk.attempt offset 0) r
                ) said
                order by n, array_position(array[1, 0, 2, 3, 5, 4]::smallint[], kind)
            ) best
        ) facts
        where campaign_id = chunk.campaign_id and no = chunk.no;
    end loop;
end $$;

-- As before: who was accepted by a run has a fact too.
create or replace function close_cancelled(p_campaign uuid, p_limit integer) returns integer language plpgsql as $$
declare
    chunk chunks;
    closed integer := 0;
begin
    for chunk in
        select c.* from chunks c join campaigns k on k.id = c.campaign_id
        where c.campaign_id = p_campaign and k.state = 'cancelled' and c.done_at is null
          and (c.owned_until is null or c.owned_until < now())
        order by c.no limit p_limit
        for update of c skip locked
    loop
        -- Members whose intent had been committed may have left: they stay unknown until a webhook or their deadline.
        insert into results (campaign_id, n, attempt, kind, reason)
        select member.campaign_id, member.n, chunk.attempt,
               case when in_flight.was then 4 else 3 end,
               case when in_flight.was then 'worker_died' else 'cancelled' end
        from (
            select r.campaign_id, r.n, row_number() over (order by
                     coalesce(array_position(chunk.members, r.n), r.n)) - 1 as position
            from recipients r
            where r.campaign_id = p_campaign and r.excluded is null
              and (r.n between chunk.first_n and chunk.last_n or r.n = any (chunk.members))
        ) member
        cross join lateral (
            select exists (
                select 1 from jsonb_array_elements(chunk.intents) i
                where member.position >= (i ->> 'from')::integer and member.position < (i ->> 'to')::integer
                  and not i -> 'skip' @> to_jsonb(member.position)) as was
        ) in_flight
        where not exists (select from facts_of(p_campaign, member.n) known where known.attempt = chunk.attempt);
        update chunks set owner = null, owned_until = null, intents = null, epoch = epoch + 1
        where campaign_id = chunk.campaign_id and no = chunk.no;
        perform recount_chunks(array[chunk.campaign_id], array[chunk.no]);
        closed := closed + 1;
    end loop;
    return closed;
end $$;

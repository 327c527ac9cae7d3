-- A chunk is found by its key, whatever the statistics say of its partition.

-- The list of chunks that are not done was an index that a plan could take for a key, too: it knows the campaign, and a plan that
-- was made while the partition was empty went through all open chunks for each one that it claimed. Thousands of single sends that
-- wait made every claim thousands of times dearer, and so more of them wait. Only who says `num_nulls(done_at) = 1`
-- gets this list: no plan can show that `done_at is null` is the same. Where `chunks` is large, make the index of each
-- partition concurrently before: it is taken over then.
create index if not exists chunks_not_done on chunks (campaign_id, (no + 0)) where num_nulls(done_at) = 1;
drop index chunks_open;

create or replace function campaigns_over(tenant uuid, account uuid) returns bigint language sql stable as $$
    select count(*) from campaigns k
    where k.tenant_id = tenant and k.state in ('launching', 'sending', 'paused') and account = any (k.route)
      and (k.kind = 'campaign'
           -- Whoever waits for another account may still come to this one.
           or exists (select from chunks c where c.campaign_id = k.id and num_nulls(c.done_at) = 1))
$$;

-- A single send is a chunk of its own: of a month with hundreds of thousands of those and one campaign, a sample finds two campaigns,
-- and expects half of the month for each. A plan for that reads the month from end to end each time that somebody looks how far
-- the campaign is.
create function count_on_few_chunks(part regclass) returns void language plpgsql as $$
begin
    execute format('alter table %s alter column campaign_id set (n_distinct = -0.01)', part);
end $$;
select count_on_few_chunks(inhrelid) from pg_inherits where inhparent = 'chunks'::regclass;

create or replace function ensure_partitions(first date, last date) returns integer language plpgsql as $$
declare
    parent text;
    month date := date_trunc('month', first);
    made integer := 0;
    part text;
begin
    while month <= last loop
        for parent in select relname from pg_class where oid in (select tables_by_campaign()) loop
            part := parent || to_char(month, '_YYYY_MM');
            if to_regclass(part) is null then
                execute format('create table %I partition of %I for values from (%L) to (%L) %s',
                    part, parent,
                    uuid_floor(month::timestamp at time zone 'UTC'),
                    uuid_floor((month + interval '1 month')::timestamp at time zone 'UTC'),
                    case parent when 'chunks' then 'with (fillfactor = 50)' else '' end);
                if parent = 'chunks' then
                    perform count_on_few_chunks(to_regclass(part));
                end if;
                made := made + 1;
            end if;
        end loop;
        month := month + interval '1 month';
    end loop;
    return made;
end $$;

-- Two slices of an audience are written beside each other, and become part of it in their order: one connection wrote as fast as one
-- processor does, while the other waited for chunks. A slice that is written says which place it follows. The cursor moves over
-- it only if it stands there: where somebody was erased meanwhile, or the launch was stopped, what was written is rolled back.

create type written_slice as (
    campaign_id uuid,
    -- The cursor, and how many are frozen, when this slice becomes part of the audience.
    after_zone text, after_contact uuid, after_row bigint, after_n integer,
    -- Its last row, null where it has none.
    zone text, contact_id uuid, row_no bigint,
    taken integer,
    -- The audience ends with it.
    complete boolean
);

-- The rows of a campaign's audience after its cursor, as SQL. $1: the campaign.
create function audience_rows(k campaigns) returns text stable language sql as $$
    select case when k.audience ? 'upload' then
        ' from upload_rows r join contacts c on c.id = r.contact_id
          where r.upload_id = ($1.audience ->> ''upload'')::uuid
            and (r.time_zone, r.contact_id, r.row_no) > ($1.cursor_zone, $1.cursor_contact, $1.cursor_row)
            and c.erased_at is null'
    else
        ' from contacts c
          where c.tenant_id = $1.tenant_id and (c.time_zone, c.id) > ($1.cursor_zone, $1.cursor_contact)
            and c.created_at <= $1.launched_at and c.erased_at is null'
    end
$$;

-- By what they are ordered: zone, contact and row.
create function audience_order(k campaigns) returns text[] immutable language sql as $$
    select case when k.audience ? 'upload' then array['r.time_zone', 'r.contact_id', 'r.row_no']
                else array['c.time_zone', 'c.id', '0::bigint'] end
$$;

create or replace function audience_walk(k campaigns) returns text stable language plpgsql as $$
declare
    from_upload boolean := k.audience ? 'upload';
    along text[] := audience_order(k);
begin
    return format('select walked.*, $1.frozen + (row_number() over (order by zone, contact_id%s))::integer as n from (',
            case when from_upload then ', row_no' end)
        || format('select %s as zone, %s as contact_id, %s as row_no, %s as address, c.locale, %s as variables, %s as key',
            along[1], along[2], along[3], contact_address(k.channel),
            pinned_values(k.variables, from_upload), coalesce(business_key(k.business_key, from_upload), 'null::text'))
        || audience_rows(k)
        || format(' order by %s limit $2) walked', concat_ws(', ', along[1], along[2], case when from_upload then along[3] end));
end $$;

-- The campaign with its cursor so many rows further on, null where the audience ends before.
create function skipped(k campaigns, p_rows integer) returns campaigns stable language plpgsql as $$
declare
    along text[] := audience_order(k);
begin
    execute format('select %s, %s, %s', along[1], along[2], along[3]) || audience_rows(k)
        || format(' order by %s, %s%s offset $2 - 1 limit 1', along[1], along[2],
                  case when k.audience ? 'upload' then ', ' || along[3] end)
        into k.cursor_zone, k.cursor_contact, k.cursor_row using k, p_rows;
    if k.cursor_contact is null then
        return null;
    end if;
    k.frozen := k.frozen + p_rows;
    return k;
end $$;

-- Writes the rows of the slice after a campaign's cursor.
create function write_slice(k campaigns, p_size integer, p_chunk integer) returns written_slice
language plpgsql set work_mem = '32MB' as $$
declare
    last record;
    -- A row that is looked at once more on its way costs half of what writing it does: only campaigns with keys pay for theirs.
    keyed boolean := k.business_key is not null;
    -- The same holds for those who are looked up on the list of allowed addresses.
    tried boolean := k.environment <> 'production'
        and not coalesce((select bool_and(sandbox) from accounts where id = any (k.route)), false);
    taken integer;
begin
    execute $freeze$
        with judged as (
            select w.*, business_key_hash(key) as key_hash,
                   case when address is null then 'no_address'
$freeze$ || case when tried then $tried$
                        when not exists (select from allowed_addresses a
                                         where a.tenant_id = $1.tenant_id and a.channel = $1.channel
                                           and a.address in (w.address, '@' || split_part(w.address, '@', -1)))
                            then 'not_allow_listed' $tried$ else '' end || $freeze$
                        when $3 and exists (select from duplicate_addresses d
                                            where d.campaign_id = $1.id and d.address = w.address
                                              and (d.kept_contact, d.kept_row) <> (contact_id, row_no)) then 'duplicate_address'
                        when $4 and key is null then 'missing_variable'
                   end as unfit
            from ($freeze$ || audience_walk(k) || $freeze$) w
        ), $freeze$ || case when keyed then $keyed$ keyed as (
            insert into business_keys (tenant_id, key_hash, campaign_id, n)
            select $1.tenant_id, key_hash, $1.id, n from judged where key_hash is not null and unfit is null order by n
            on conflict do nothing
            returning n
        ), $keyed$ else '' end || $freeze$ numbered as (
            select j.*, $freeze$ || case when keyed then $keyed$
                   case when unfit is null and key_hash is not null and n not in (select keyed.n from keyed)
                        then 'duplicate_business_key' else unfit end $keyed$ else 'unfit' end || $freeze$ as excluded
            from judged j
        ), frozen as (
            insert into recipients (campaign_id, n, variant, excluded, contact_id, address, variables, business_key)
            select $1.id, n,
                   -- The variant of the person's locale, then of its language, then the first.
                   case when $5 then 0
                        else coalesce(array_position($1.locales, locale),
                                      array_position($1.locales, split_part(locale, '-', 1)), 1) - 1 end,
                   excluded, contact_id, coalesce(address, ''), variables, key_hash
            from numbered
        ), cut as (
            insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size, time_zone,
                                not_before, born_at)
            select $1.id, min(n), $1.tenant_id, $1.route[1], 1, 0, min(n), max(n), count(*),
                   case when $1.window_from is not null then zone end,
                   $1.local_at at time zone zone, greatest(now(), $1.local_at at time zone zone)
            from (select n, zone, (row_number() over (partition by zone order by n) - 1) / $6 as part
                  from numbered where excluded is null) sendable
            group by zone, part
        )
        select zone, contact_id, row_no, n from numbered order by n desc limit 1
    $freeze$ into last using k, p_size,
        exists (select from duplicate_addresses where campaign_id = k.id),
        keyed, cardinality(k.locales) = 1,
        least(p_chunk, throttled_chunk(k.throttle_per_minute));
    taken := coalesce(last.n - k.frozen, 0);
    return (k.id, k.cursor_zone, k.cursor_contact, k.cursor_row, k.frozen,
            last.zone, last.contact_id, last.row_no, taken, taken < p_size)::written_slice;
end $$;

-- Makes a written slice part of the audience, and says whether it could: whoever hears no rolls back.
create function move_cursor(slice written_slice) returns boolean language plpgsql as $$
begin
    update campaigns set
        cursor_zone = coalesce(slice.zone, cursor_zone), cursor_contact = coalesce(slice.contact_id, cursor_contact),
        cursor_row = coalesce(slice.row_no, cursor_row), frozen = frozen + slice.taken,
        state = case when slice.complete then 'sending' else state end
    where id = slice.campaign_id and state = 'launching' and frozen = slice.after_n
      and (cursor_zone, cursor_contact, cursor_row) = (slice.after_zone, slice.after_contact, slice.after_row);
    return found;
end $$;

-- Freezes the next slice of a launching campaign: the first of at most `p_first` recipients. `complete` when the audience has ended:
-- the campaign is sending then. Returns nulls when the campaign does not launch (any more).
create or replace function freeze_slice(
    p_campaign uuid, p_first integer, p_limit integer, p_chunk integer, out taken integer, out complete boolean
)
language plpgsql as $$
declare
    k campaigns;
    slice written_slice;
begin
    select * into k from campaigns where id = p_campaign for update;
    if k.state is distinct from 'launching' then
        return;
    end if;
    if not k.prepared then
        perform prepare_audience(p_campaign);
        select * into k from campaigns where id = p_campaign;
    end if;
    slice := write_slice(k, case when k.frozen = 0 then p_first else p_limit end, p_chunk);
    perform move_cursor(slice);
    taken := slice.taken;
    complete := slice.complete;
end $$;

-- Writes the slice that follows number `p_after`, while somebody writes those up to it. Null where there is none, or it has to be
-- written later: of two rows with one business key the first holds.
create function write_slice_ahead(p_campaign uuid, p_after integer, p_limit integer, p_chunk integer) returns written_slice
language plpgsql as $$
declare
    k campaigns;
begin
    select * into k from campaigns
    where id = p_campaign and state = 'launching' and prepared and frozen <= p_after and business_key is null;
    if k.frozen < p_after then
        k := skipped(k, p_after - k.frozen);
    end if;
    return case when k.id is not null then write_slice(k, p_limit, p_chunk) end;
end $$;

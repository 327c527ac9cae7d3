-- Freezing an audience: numbered recipients with pinned values, cut into chunks, slice by slice. A slice's rows, the next
-- number and the cursor commit together, so a launch that was killed goes on where it was and freezes nobody twice.

-- The key that makes a message unique to the business: `policy:{policy_number}:renewal-2026` with the recipient's values.
-- Null when a value is missing.
create function business_key(expression text, variables jsonb) returns text immutable strict language plpgsql as $$
declare
    name text;
    filled text := expression;
begin
    for name in select (regexp_matches(expression, '\{([^{}]+)\}', 'g'))[1] loop
        if variables ->> name is null then
            return null;
        end if;
        filled := replace(filled, '{' || name || '}', variables ->> name);
    end loop;
    return filled;
end $$;

create function business_key_hash(key text) returns uuid immutable strict language sql as $$
    select encode(substring(sha256(convert_to(key, 'UTF8')) for 16), 'hex')::uuid
$$;

-- When a message may next leave for somebody in this zone; null: now. Local hours may span midnight.
create function next_window(zone text, hours_from time, hours_to time) returns timestamptz stable language sql as $$
    select case
        when zone is null or hours_from is null or hours_to is null then null
        when case when hours_from <= hours_to
                  then moment::time >= hours_from and moment::time < hours_to
                  else moment::time >= hours_from or moment::time < hours_to end then null
        when moment::time < hours_from then (moment::date + hours_from) at time zone zone
        else (moment::date + 1 + hours_from) at time zone zone
    end
    from (select now() at time zone zone as moment) clock
$$;

-- Where the value of a variable stands, as SQL over the rows of a walk: in the file's row, else in what is known of the
-- contact, else in a column of its own.
create function value_source(name text, from_upload boolean) returns text immutable strict language sql as $$
    select format('coalesce(%sc.attributes -> %L%s)',
        case when from_upload then format('r.attributes -> %L, ', name) else '' end,
        name,
        case when name in ('name', 'email', 'phone') then format(', to_jsonb(c.%I)', name) else '' end)
$$;

-- The values of these variables as a JSON object without those that are missing, as SQL over the rows of a walk. Naming
-- them one by one costs a fraction of gathering them row by row.
create function pinned_values(variables text[], from_upload boolean) returns text immutable language sql as $$
    select format('(''{'' || array_to_string(array[%s]::text[], '','') || ''}'')::json', string_agg(
        format('%L || nullif(%s, ''null'')::text', to_json(name)::text || ':', value_source(name, from_upload)), ', '))
    from unnest(variables) name
$$;

-- The next rows of a campaign's audience after its cursor, in the order of the walk, as SQL: zone, contact_id, row_no,
-- address, locale, variables, and `keyed`, the values that its business key names. $1: the campaign, $2: how many rows.
create function audience_walk(k campaigns) returns text stable language plpgsql as $$
declare
    from_upload boolean := k.audience ? 'upload';
    zone text := case when from_upload then 'r.time_zone' else 'c.time_zone' end;
    row_no text := case when from_upload then 'r.row_no' else '0::bigint' end;
    names text[] := array(select (regexp_matches(k.business_key, '\{([^{}]+)\}', 'g'))[1]);
begin
    return format('select %s as zone, c.id as contact_id, %s as row_no, c.%I as address, c.locale, %s as variables, %s as keyed',
            zone, row_no, case k.channel when 'email' then 'email' else 'phone' end,
            pinned_values(k.variables, from_upload),
            case when k.business_key is null then 'null::json' else pinned_values(names, from_upload) end)
        || case when from_upload then
            ' from upload_rows r join contacts c on c.id = r.contact_id
              where r.upload_id = ($1.audience ->> ''upload'')::uuid
                and (r.time_zone, r.contact_id, r.row_no) > ($1.cursor_zone, $1.cursor_contact, $1.cursor_row)
                and c.erased_at is null
              order by r.time_zone, r.contact_id, r.row_no limit $2'
        else
            ' from contacts c
              where c.tenant_id = $1.tenant_id and (c.time_zone, c.id) > ($1.cursor_zone, $1.cursor_contact)
                and c.created_at <= $1.launched_at and c.erased_at is null
              order by c.time_zone, c.id limit $2'
        end;
end $$;

-- Notes which addresses occur more than once, and that the first in the order of the walk keeps each.
create function prepare_audience(p_campaign uuid) returns void language plpgsql as $$
declare
    k campaigns;
begin
    select * into k from campaigns where id = p_campaign for update;
    if k.prepared then
        return;
    end if;
    if k.audience ? 'upload' then
        insert into duplicate_addresses (campaign_id, address, kept_contact, kept_row)
        select p_campaign, member.address,
               (array_agg(member.id order by member.time_zone, member.id, member.row_no))[1],
               (array_agg(member.row_no order by member.time_zone, member.id, member.row_no))[1]
        from (select case k.channel when 'email' then c.email else c.phone end as address, r.time_zone, c.id, r.row_no
              from upload_rows r join contacts c on c.id = r.contact_id
              where r.upload_id = (k.audience ->> 'upload')::uuid and c.erased_at is null) member
        where member.address is not null
        group by member.address having count(*) > 1;
    -- Contacts are unique by e-mail address already.
    elsif k.channel <> 'email' then
        insert into duplicate_addresses (campaign_id, address, kept_contact, kept_row)
        select p_campaign, c.phone, (array_agg(c.id order by c.time_zone, c.id))[1], 0
        from contacts c
        where c.tenant_id = k.tenant_id and c.phone is not null and c.created_at <= k.launched_at and c.erased_at is null
        group by c.phone having count(*) > 1;
    end if;
    update campaigns set prepared = true, cursor_zone = '', cursor_row = 0,
        cursor_contact = '00000000-0000-0000-0000-000000000000' where id = p_campaign;
end $$;

-- Freezes the next slice of a launching campaign. `complete` when the audience has ended: the campaign is sending then.
-- Returns nulls when the campaign does not launch (any more).
create function freeze_slice(p_campaign uuid, p_limit integer, p_chunk integer, out taken integer, out complete boolean)
language plpgsql set work_mem = '32MB' as $$
declare
    k campaigns;
    last record;
begin
    select * into k from campaigns where id = p_campaign for update;
    if k.state <> 'launching' or not k.prepared then
        return;
    end if;
    execute $freeze$
        with walked as (
            select w.*, $3 + (row_number() over (order by zone, contact_id, row_no))::integer as n,
                   business_key($4, keyed::jsonb) as key
            from ($freeze$ || audience_walk(k) || $freeze$) w
        ), judged as (
            select w.*, business_key_hash(key) as key_hash,
                   case when address is null then 'no_address'
                        when $5 and exists (select from duplicate_addresses d
                                            where d.campaign_id = $6 and d.address = w.address
                                              and (d.kept_contact, d.kept_row) <> (contact_id, row_no)) then 'duplicate_address'
                        when $4 is not null and key is null then 'missing_variable'
                   end as unfit
            from walked w
        ), keyed as (
            insert into business_keys (tenant_id, key_hash, campaign_id, n)
            select $7, key_hash, $6, n from judged where key_hash is not null and unfit is null order by n
            on conflict do nothing
            returning n
        ), numbered as (
            select j.*, case when unfit is null and key_hash is not null and n not in (select keyed.n from keyed)
                             then 'duplicate_business_key' else unfit end as excluded
            from judged j
        ), frozen as (
            insert into recipients (campaign_id, n, variant, excluded, contact_id, address, variables, business_key)
            select $6, n,
                   -- The variant of the person's locale, then of its language, then the first.
                   coalesce(array_position($8, locale), array_position($8, split_part(locale, '-', 1)), 1) - 1,
                   excluded, contact_id, coalesce(address, ''), variables, key_hash
            from numbered
        ), cut as (
            insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size, time_zone)
            select $6, min(n), $7, $9, 1, 0, min(n), max(n), count(*), case when $10 then zone end
            from (select n, zone, (row_number() over (partition by zone order by n) - 1) / $11 as part
                  from numbered where excluded is null) sendable
            group by zone, part
        )
        select zone, contact_id, row_no, n from numbered order by n desc limit 1
    $freeze$ into last using k, p_limit, k.frozen, k.business_key,
        exists (select from duplicate_addresses where campaign_id = p_campaign),
        p_campaign, k.tenant_id, k.locales, k.route[1], k.window_from is not null, p_chunk;
    taken := coalesce(last.n - k.frozen, 0);
    complete := taken < p_limit;
    update campaigns set
        cursor_zone = coalesce(last.zone, cursor_zone), cursor_contact = coalesce(last.contact_id, cursor_contact),
        cursor_row = coalesce(last.row_no, cursor_row), frozen = frozen + taken,
        state = case when complete then 'sending' else state end
    where id = p_campaign;
end $$;

-- Closes chunks of a cancelled campaign that nobody works on: each member without a fact gets one. Returns how many chunks.
create function close_cancelled(p_campaign uuid, p_limit integer) returns integer language plpgsql as $$
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
        where not exists (select 1 from results known
                          where known.campaign_id = p_campaign and known.n = member.n and known.attempt = chunk.attempt);
        update chunks set owner = null, owned_until = null, intents = null, epoch = epoch + 1
        where campaign_id = chunk.campaign_id and no = chunk.no;
        perform recount_chunks(array[chunk.campaign_id], array[chunk.no]);
        closed := closed + 1;
    end loop;
    return closed;
end $$;

-- Freezing an audience: numbered recipients with pinned values, cut into chunks, slice by slice. A slice's rows, the next
-- number and the cursor commit together, so a launch that was killed goes on where it was and freezes nobody twice.

-- The key that makes a message unique to the business: `policy:{policy_number}:renewal-2026` with the recipient's values, as
-- SQL over the rows of a walk; null when a value is missing. A value stands in the file's row, else in what is known of the
-- contact, else in a column of its own.
create function business_key(expression text, from_upload boolean) returns text immutable strict language sql as $$
    select string_agg(case when part ~ '^\{.+\}$'
        then format('(coalesce(%sc.attributes -> %L%s) #>> ''{}'')',
            case when from_upload then format('r.attributes -> %L, ', name) else '' end, name,
            case when name in ('name', 'email', 'phone') then format(', to_jsonb(c.%I)', name) else '' end)
        else quote_literal(part) end, ' || ')
    from (select match[1] as part, btrim(match[1], '{}') as name
          from regexp_matches(expression, '\{[^{}]+\}|[^{}]+|[{}]', 'g') match) parts
$$;

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

-- What is pinned of a row's attributes, as SQL. A small one is pinned as it stands: picking costs more than copying. Of a
-- large one only what the template uses, each value by its name: a fraction of what gathering them row by row costs.
create function pinned_attributes(attributes text, variables text[]) returns text immutable language sql as $$
    select format('case when pg_column_size(%1$s) <= 512 then %1$s::text else concat(''{'', concat_ws('','', %2$s), ''}'') end',
        attributes,
        string_agg(format('%L || (%s -> %L)::text', to_json(name)::text || ':', attributes, name), ', '))
    from unnest(variables || '{}'::text[]) name
$$;

-- The values of a row as a JSON array of objects, as SQL over the rows of a walk: the contact's own columns, what is known of
-- the contact, what the file's row says.
create function pinned_values(variables text[], from_upload boolean) returns text immutable language sql as $$
    select format('concat(''['', %s %s, %s '']'')',
        (select string_agg(format('%L, coalesce(to_json(c.%I)::text, ''null''), ''},'',', format('{"%s":', name), name), ' ')
         from unnest(variables) name where name in ('name', 'email', 'phone')),
        pinned_attributes('c.attributes', variables),
        case when from_upload then format(''','', %s,', pinned_attributes('r.attributes', variables)) end)
$$;

-- The next rows of a campaign's audience after its cursor, in the order of the walk and numbered after those that are frozen,
-- as SQL: zone, contact_id, row_no, n, address, locale, variables, key. $1: the campaign, $2: how many rows.
create function audience_walk(k campaigns) returns text stable language plpgsql as $$
declare
    from_upload boolean := k.audience ? 'upload';
    along text := case when from_upload then 'r.time_zone, r.contact_id, r.row_no' else 'c.time_zone, c.id' end;
begin
    return format('select walked.*, $1.frozen + (row_number() over (order by %s))::integer as n from (',
            case when from_upload then 'zone, contact_id, row_no' else 'zone, contact_id' end)
        || format('select %s as zone, c.id as contact_id, %s as row_no, c.%I as address, c.locale, %s as variables, %s as key',
            split_part(along, ',', 1), case when from_upload then 'r.row_no' else '0::bigint' end,
            case k.channel when 'email' then 'email' else 'phone' end,
            pinned_values(k.variables, from_upload), coalesce(business_key(k.business_key, from_upload), 'null::text'))
        || case when from_upload then
            ' from upload_rows r join contacts c on c.id = r.contact_id
              where r.upload_id = ($1.audience ->> ''upload'')::uuid
                and (r.time_zone, r.contact_id, r.row_no) > ($1.cursor_zone, $1.cursor_contact, $1.cursor_row)
                and c.erased_at is null'
        else
            ' from contacts c
              where c.tenant_id = $1.tenant_id and (c.time_zone, c.id) > ($1.cursor_zone, $1.cursor_contact)
                and c.created_at <= $1.launched_at and c.erased_at is null'
        end
        || format(' order by %s limit $2) walked', along);
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

-- Freezes the next slice of a launching campaign: the first of at most `p_first` recipients. `complete` when the audience has ended: the campaign is sending then.
-- Returns nulls when the campaign does not launch (any more).
create function freeze_slice(
    p_campaign uuid, p_first integer, p_limit integer, p_chunk integer, out taken integer, out complete boolean
)
language plpgsql set work_mem = '32MB' as $$
declare
    k campaigns;
    last record;
    -- A row that is looked at once more on its way costs half of what writing it does: only campaigns with keys pay for theirs.
    keyed boolean;
    size integer;
begin
    select * into k from campaigns where id = p_campaign for update;
    if k.state <> 'launching' then
        return;
    end if;
    if not k.prepared then
        perform prepare_audience(p_campaign);
        select * into k from campaigns where id = p_campaign;
    end if;
    size := case when k.frozen = 0 then p_first else p_limit end;
    keyed := k.business_key is not null;
    execute $freeze$
        with judged as (
            select w.*, business_key_hash(key) as key_hash,
                   case when address is null then 'no_address'
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
            insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size, time_zone)
            select $1.id, min(n), $1.tenant_id, $1.route[1], 1, 0, min(n), max(n), count(*),
                   case when $1.window_from is not null then zone end
            from (select n, zone, (row_number() over (partition by zone order by n) - 1) / $6 as part
                  from numbered where excluded is null) sendable
            group by zone, part
        )
        select zone, contact_id, row_no, n from numbered order by n desc limit 1
    $freeze$ into last using k, size,
        exists (select from duplicate_addresses where campaign_id = p_campaign),
        keyed, cardinality(k.locales) = 1, p_chunk;
    taken := coalesce(last.n - k.frozen, 0);
    complete := taken < size;
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

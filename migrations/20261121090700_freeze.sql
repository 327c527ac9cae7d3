-- Freezing an audience: numbered recipients with pinned values, cut into chunks, slice by slice. A slice's rows, the next
-- number and the cursor commit together, so a launch that was killed goes on where it was and freezes nobody twice.

-- The key that makes a message unique to the business: `policy:{policy_number}:renewal-2026` with the recipient's values.
-- Null when a value is missing.
create function business_key(expression text, variables jsonb) returns text immutable language plpgsql as $$
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

-- The next rows of a campaign's audience after its cursor, in the order of the walk.
create function audience_slice(p_campaign uuid, p_limit integer)
returns table (zone text, contact_id uuid, row_no bigint, address text, locale text, facts jsonb)
stable language plpgsql as $$
declare
    k campaigns;
begin
    select * into k from campaigns where id = p_campaign;
    if k.audience ? 'upload' then
        return query
            select r.time_zone, c.id, r.row_no,
                   case k.channel when 'email' then c.email else c.phone end, c.locale,
                   jsonb_build_object('name', c.name, 'email', c.email, 'phone', c.phone) || c.attributes || r.attributes
            from upload_rows r join contacts c on c.id = r.contact_id
            where r.upload_id = (k.audience ->> 'upload')::uuid
              and (r.time_zone, r.contact_id, r.row_no) > (k.cursor_zone, k.cursor_contact, k.cursor_row)
              and c.erased_at is null
            order by r.time_zone, r.contact_id, r.row_no
            limit p_limit;
    else
        return query
            select c.time_zone, c.id, 0::bigint,
                   case k.channel when 'email' then c.email else c.phone end, c.locale,
                   jsonb_build_object('name', c.name, 'email', c.email, 'phone', c.phone) || c.attributes
            from contacts c
            where c.tenant_id = k.tenant_id and (c.time_zone, c.id) > (k.cursor_zone, k.cursor_contact)
              and c.created_at <= k.launched_at and c.erased_at is null
            order by c.time_zone, c.id
            limit p_limit;
    end if;
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
language plpgsql as $$
declare
    k campaigns;
begin
    select * into k from campaigns where id = p_campaign for update;
    if k.state <> 'launching' or not k.prepared then
        return;
    end if;
    with walked as (
        select s.*, k.frozen + (row_number() over (order by s.zone, s.contact_id, s.row_no))::integer as n
        from audience_slice(p_campaign, p_limit) s
    ), judged as (
        select w.*,
               case when w.address is null then 'no_address'
                    when exists (select 1 from duplicate_addresses d
                                 where d.campaign_id = p_campaign and d.address = w.address
                                   and (d.kept_contact, d.kept_row) <> (w.contact_id, w.row_no)) then 'duplicate_address'
                    when k.business_key is not null and business_key(k.business_key, w.facts) is null then 'missing_variable'
               end as excluded,
               business_key_hash(business_key(k.business_key, w.facts)) as key_hash
        from walked w
    ), keyed as (
        insert into business_keys (tenant_id, key_hash, campaign_id, n)
        select k.tenant_id, key_hash, p_campaign, n from judged where key_hash is not null and excluded is null order by n
        on conflict do nothing
        returning n
    ), frozen as (
        insert into recipients (campaign_id, n, variant, excluded, contact_id, address, variables, business_key)
        select p_campaign, j.n,
               -- The variant of the person's locale, then of its language, then the first.
               coalesce(array_position(k.locales, j.locale), array_position(k.locales, split_part(j.locale, '-', 1)), 1) - 1,
               case when j.excluded is null and j.key_hash is not null and keyed.n is null
                    then 'duplicate_business_key' else j.excluded end,
               j.contact_id, coalesce(j.address, ''),
               (select coalesce(json_object_agg(name, j.facts -> name) filter (where j.facts ->> name is not null), '{}')
                from unnest(k.variables) name),
               j.key_hash
        from judged j left join keyed using (n)
        returning n, excluded
    ), sendable as (
        select n, zone, (row_number() over (partition by zone order by n) - 1) / p_chunk as part
        from frozen join judged using (n)
        where frozen.excluded is null
    ), cut as (
        insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size, time_zone)
        select p_campaign, min(n), k.tenant_id, k.route[1], 1, 0, min(n), max(n), count(*),
               case when k.window_from is not null then zone end
        from sendable
        group by zone, part
    ), last as (
        select zone, contact_id, row_no, n from walked order by n desc limit 1
    )
    update campaigns set cursor_zone = last.zone, cursor_contact = last.contact_id, cursor_row = last.row_no, frozen = last.n
    from last
    where id = p_campaign;
    select frozen - k.frozen into taken from campaigns where id = p_campaign;
    complete := taken < p_limit;
    if complete then
        update campaigns set state = 'sending' where id = p_campaign;
    end if;
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

-- How many single messages may go to numbers that begin with a prefix, in a day of the tenant: whoever has many codes sent to
-- numbers that earn them money earns so much and no more. Every cap that an address falls under has to have room.
create table send_caps (
    tenant_id uuid not null references tenants (id) on delete cascade,
    channel text not null check (channel in ('sms', 'whatsapp')),
    -- Digits of E.164, without the plus sign; empty: every number.
    prefix text not null check (prefix ~ '^[0-9]{0,15}$'),
    per_day integer not null check (per_day >= 0),
    -- The day that `used` is of.
    day date not null default '-infinity',
    used integer not null default 0,
    primary key (tenant_id, channel, prefix)
);
select protect('send_caps', 'tenant_id = this_tenant()');

-- Counts a message under every cap that its address falls under, if each has room. Those who write under the same cap wait for
-- each other until the first of them is committed, but not to hear that it is used up: within a day no place comes free.
create function within_caps(p_tenant uuid, p_channel text, p_address text) returns boolean language plpgsql as $$
declare
    -- What the address may begin with: each is found by the primary key.
    beginnings text[] := array(select left(ltrim(p_address, '+'), length) from generate_series(0, 15) length);
    zone text;
    today date;
begin
    if not exists (select from send_caps where tenant_id = p_tenant and channel = p_channel and prefix = any (beginnings)) then
        return true;
    end if;
    select time_zone into zone from tenants where id = p_tenant;
    for look in 1 .. 2 loop
        today := (clock_timestamp() at time zone zone)::date;
        if exists (select from send_caps
                   where tenant_id = p_tenant and channel = p_channel and prefix = any (beginnings)
                     and case when day = today then used else 0 end >= per_day) then
            return false;
        end if;
        if look = 1 then
            perform from send_caps where tenant_id = p_tenant and channel = p_channel and prefix = any (beginnings)
            order by prefix for update;
        end if;
    end loop;
    update send_caps set used = case when day = today then used else 0 end + 1, day = today
    where tenant_id = p_tenant and channel = p_channel and prefix = any (beginnings);
    return true;
end $$;

create or replace function accept_direct(
    p_tenant uuid, p_campaign uuid, p_account uuid, p_channel text, p_class text, p_variant smallint,
    p_contact uuid, p_address text, p_variables text, p_key_hash uuid, p_owner uuid, p_lease interval,
    p_not_before timestamptz default null, p_names text[] default '{}', p_values text[] default '{}',
    out verdict text, out campaign uuid, out n integer, out reason text
) language plpgsql set plan_cache_mode = force_generic_plan as $$
begin
    perform pg_advisory_xact_lock_shared(lock_key) from tenants where id = p_tenant;
    campaign := p_campaign;
    n := nextval('direct_n');
    if p_key_hash is not null then
        insert into business_keys (tenant_id, key_hash, campaign_id, n)
        values (p_tenant, p_key_hash, p_campaign, accept_direct.n) on conflict do nothing;
        if not found then
            select b.campaign_id, b.n into campaign, accept_direct.n from business_keys b
            where b.tenant_id = p_tenant and b.key_hash = p_key_hash;
            verdict := 'duplicate';
            return;
        end if;
    end if;
    select r.reason into accept_direct.reason
    from refusals(p_tenant, p_channel, p_class, array[p_contact], array[p_address]) r;
    -- Last, so that others wait no longer than they must.
    if reason is null and not within_caps(p_tenant, p_channel, p_address) then
        delete from business_keys where tenant_id = p_tenant and key_hash = p_key_hash;
        verdict := 'capped';
        return;
    end if;
    insert into recipients (campaign_id, n, variant, excluded, contact_id, address, variables, business_key)
    values (p_campaign, accept_direct.n, p_variant, accept_direct.reason, p_contact, p_address, concat('[', p_variables, ']'), p_key_hash);
    if cardinality(p_names) > 0 then
        insert into message_references (tenant_id, name, value, campaign_id, n)
        select p_tenant, pair.name, pair.value, p_campaign, accept_direct.n from unnest(p_names, p_values) as pair (name, value);
    end if;
    if reason is not null then
        verdict := 'refused';
        return;
    end if;
    insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size,
                        not_before, born_at, epoch, owner, owned_until, watermark, intents)
    values (p_campaign, accept_direct.n, p_tenant, p_account, 1, 0, accept_direct.n, accept_direct.n, 1,
            -- It is as old as the moment for which it was meant.
            p_not_before, coalesce(p_not_before, now()),
            case when p_owner is null then 0 else 1 end, p_owner, case when p_owner is not null then now() + p_lease end,
            case when p_owner is null then 0 else 1 end,
            case when p_owner is not null then jsonb_build_array(jsonb_build_object(
                'from', 0, 'to', 1, 'at', clock_timestamp(), 'key', null, 'skip', '[]'::jsonb)) end);
    verdict := 'accepted';
end $$;

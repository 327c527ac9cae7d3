-- Single sends through the API: later, under references of the caller, at a price; and their messages found again.

-- What messages are called by whoever sends them: `policyId` POL123456, `caseId` …. Found by name and value, and shown with
-- the message. Of the months of their campaigns, so that they go with their messages.
create table message_references (
    tenant_id uuid not null,
    name text collate "C" not null check (length(name) between 1 and 64),
    value text collate "C" not null check (length(value) between 1 and 128),
    campaign_id uuid not null,
    n integer not null,
    primary key (tenant_id, name, value, campaign_id, n)
) partition by range (campaign_id);
create index message_references_by_message on message_references (campaign_id, n);
create table message_references_other partition of message_references default;

-- From here on every table that is partitioned by campaign follows, without being named.
create function tables_by_campaign() returns setof regclass stable language sql as $$
    select partrelid::regclass from pg_partitioned_table
    where pg_get_partkeydef(partrelid) = 'RANGE (campaign_id)'
    order by partrelid
$$;

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
                made := made + 1;
            end if;
        end loop;
        month := month + interval '1 month';
    end loop;
    return made;
end $$;

create or replace function drop_partitions(months integer) returns setof text language plpgsql as $$
declare
    part text;
    oldest date := date_trunc('month', now() at time zone 'UTC') - make_interval(months => months);
begin
    for part in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent in (select tables_by_campaign()) and c.relname ~ '_\d{4}_\d{2}$'
          and to_date(right(c.relname, 7), 'YYYY_MM') < oldest
    loop
        execute format('drop table %I', part);
        return next part;
    end loop;
end $$;
select ensure_partitions((now() at time zone 'UTC')::date, ((now() at time zone 'UTC') + interval '2 months')::date);

-- Who got what. By the contact and not by the address: an audience is frozen in the order of contacts, so the index grows
-- along with it (32 bytes and 75 bytes of log a recipient), where addresses would come in any order (56 and 150, each on
-- another page once the index is larger than memory). Whoever looks for an address looks for the contact who has it. Only
-- messages to nobody who is known are found by their address alone; those are single sends, and few.
create index if not exists recipients_by_contact on recipients (contact_id) where contact_id is not null;
create index recipients_by_address on recipients (address) where contact_id is null;
-- A tenant's campaigns from the newest on, whose messages are listed in that order.
create index campaigns_newest on campaigns (tenant_id, id desc);
-- Who has a number. Those without an e-mail address have an index by it already.
create index contacts_by_phone on contacts (tenant_id, phone) where email is not null and phone is not null;

-- What an account charges for a message, or for each segment of an SMS, to numbers that begin with `prefix` (digits without
-- the plus sign; the longest holds; '' is everything). A new price is a new row: what was sent before keeps its own.
create table prices (
    tenant_id uuid not null references tenants,
    account_id uuid not null references accounts on delete cascade,
    channel text not null,
    prefix text collate "C" not null default '' check (prefix ~ '^[0-9]{0,15}$'),
    valid_from timestamptz not null default now(),
    -- Millionths of the currency's unit.
    micros bigint not null check (micros >= 0),
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    primary key (account_id, channel, prefix, valid_from)
);

-- To whom a caller may write who is trying things out: an address in its normal form, or `@` and a domain.
create table allowed_addresses (
    tenant_id uuid not null references tenants,
    channel text not null,
    address text collate "C" not null check (length(address) between 2 and 320),
    created_at timestamptz not null default now(),
    primary key (tenant_id, channel, address)
);

-- Its messages reach nobody: whoever is trying things out may write to any address over it.
alter table accounts add column sandbox boolean not null default false;

-- Nobody's template: messages that were written whole by whoever sent them bear it. Only its first version is ever used.
alter table templates add column written boolean not null default false;

select protect(wall, 'tenant_id = this_tenant()')
from unnest(array['message_references', 'prices', 'allowed_addresses']::regclass[]) wall;

-- Takes in a direct message: recipient, chunk, business key, references and, when `p_owner` is given, the intent to send it now.
-- With `p_not_before` it leaves no earlier; whatever may stop it is looked at then once more, by its intent.
-- Verdicts: accepted; refused (recorded with its reason); duplicate (n and campaign of the message that bears the key).
drop function accept_direct(uuid, uuid, uuid, text, text, smallint, uuid, text, text, uuid, uuid, interval);
create function accept_direct(
    p_tenant uuid, p_campaign uuid, p_account uuid, p_channel text, p_class text, p_variant smallint,
    p_contact uuid, p_address text, p_variables text, p_key_hash uuid, p_owner uuid, p_lease interval,
    p_not_before timestamptz default null, p_names text[] default '{}', p_values text[] default '{}',
    out verdict text, out campaign uuid, out n integer, out reason text
) language plpgsql as $$
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

-- Stops one direct message. The chunk's row is the lock: an intent changes that row, so it either committed before (too late)
-- or finds the chunk done and is lost. Verdicts: cancelled (also when it was before); too_late; of_campaign; null: no such.
create function cancel_direct(p_tenant uuid, p_campaign uuid, p_n integer) returns text language plpgsql as $$
declare
    gathered text;
    chunk chunks;
begin
    select k.kind into gathered from campaigns k join recipients r on r.campaign_id = k.id
    where k.id = p_campaign and k.tenant_id = p_tenant and r.n = p_n;
    if gathered is distinct from 'direct' then
        return case when gathered is not null then 'of_campaign' end;
    end if;
    select * into chunk from chunks where campaign_id = p_campaign and no = p_n for update;
    if exists (select from results where campaign_id = p_campaign and n = p_n and kind = 3 and reason = 'cancelled') then
        return 'cancelled';
    end if;
    if chunk.no is null or chunk.done_at is not null or coalesce(chunk.intents, '[]') <> '[]'
       or exists (select from results where campaign_id = p_campaign and n = p_n) then
        return 'too_late';
    end if;
    insert into results (campaign_id, n, attempt, kind, reason) values (p_campaign, p_n, chunk.attempt, 3, 'cancelled');
    update chunks set suppressed = 1, done_at = now(), epoch = epoch + 1, owner = null, owned_until = null
    where campaign_id = p_campaign and no = p_n;
    return 'cancelled';
end $$;

-- The steps that must see the newest committed state, each in one round trip. In a volatile PL/pgSQL function every
-- statement takes a snapshot of its own, so what follows the lock sees every stop that was committed before the lock
-- was granted; a single SQL statement would not.

-- Who of these must not be written to now: position (from 1) and reason. The one place that holds this rule.
create function refusals(p_tenant uuid, p_channel text, p_class text, p_contacts uuid[], p_addresses text[])
returns table (at integer, reason text) stable language sql as $$
    select member.at::integer,
           coalesce(suppression.reason, 'no_consent')
    from unnest(p_contacts, p_addresses) with ordinality as member (contact_id, address, at)
    left join lateral (
        select s.reason from suppressions s
        where s.tenant_id = p_tenant and s.channel = p_channel and s.address = member.address
          and (s.scope = 'all' or p_class = 'marketing')
        order by s.scope
        limit 1
    ) suppression on true
    where suppression.reason is not null
       or (p_class = 'marketing' and not coalesce(
              (select granted from consents c where c.contact_id = member.contact_id and c.channel = p_channel),
              (select consent_rule = 'opt_out' from tenants t where t.id = p_tenant)))
$$;

-- Commits the intent to send the members at these positions (ascending) of a chunk, or says why not. Verdicts:
-- go: `excluded` must not be sent, every other member of the slice may;
-- stopped: the campaign does not send now; lost: the chunk has another owner.
create function commit_intent(
    p_tenant uuid, p_campaign uuid, p_no bigint, p_epoch integer, p_lease interval,
    p_positions integer[], p_key uuid, p_contacts uuid[], p_addresses text[],
    out verdict text, out excluded integer[], out reasons text[]
)
-- Planning these statements anew for every slice, because partitions are many, would cost as much as they do.
language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    campaign record;
    first integer := p_positions[1];
    past integer := p_positions[cardinality(p_positions)] + 1;
    skip jsonb;
begin
    perform pg_advisory_xact_lock_shared(lock_key) from tenants where id = p_tenant;
    select state, channel, class into campaign from campaigns where id = p_campaign;
    if campaign.state not in ('launching', 'sending') then
        verdict := 'stopped';
        return;
    end if;
    select coalesce(array_agg(p_positions[r.at]), '{}'), coalesce(array_agg(r.reason), '{}') into excluded, reasons
    from refusals(p_tenant, campaign.channel, campaign.class, p_contacts, p_addresses) r;
    -- Members between the first and the last position that are not of this slice are skipped like the excluded.
    if past - first = cardinality(p_positions) then
        skip := to_jsonb(excluded);
    else
        select coalesce(jsonb_agg(hole), '[]') into skip from generate_series(first, past - 1) hole
        where hole <> all (p_positions) or hole = any (excluded);
    end if;
    update chunks set
        watermark = greatest(watermark, past),
        owned_until = now() + p_lease,
        intents = coalesce(intents, '[]') || jsonb_build_array(jsonb_build_object(
            'from', first, 'to', past, 'at', clock_timestamp(), 'key', p_key, 'skip', skip))
    where campaign_id = p_campaign and no = p_no and epoch = p_epoch and done_at is null;
    verdict := case when found then 'go' else 'lost' end;
end $$;

-- Appends facts; those that are known already change nothing. That is so rare (a commit whose answer was lost) that it is
-- only looked for once a plain insert has met one: `on conflict` makes every row dearer by half.
create function append_results(
    campaigns uuid[], ns integer[], attempts smallint[], kinds smallint[], accounts smallint[], ats timestamptz[],
    reasons text[], details text[]
) returns void language plpgsql set plan_cache_mode = force_generic_plan as $$
begin
    insert into results (campaign_id, n, attempt, kind, account_no, at, reason, detail)
    select * from unnest(campaigns, ns, attempts, kinds, accounts, ats, reasons, details);
exception when unique_violation then
    insert into results (campaign_id, n, attempt, kind, account_no, at, reason, detail)
    select * from unnest(campaigns, ns, attempts, kinds, accounts, ats, reasons, details)
    on conflict do nothing;
end $$;

-- The same for acceptances, which nearly all facts are: what those of one campaign, attempt and account share is told once,
-- and `groups` says of each which (from 1) it belongs to. Every array that is unrolled beside the others costs a tenth of a row.
create function append_accepted(
    campaigns uuid[], attempts smallint[], accounts smallint[],
    groups integer[], ns integer[], ats timestamptz[], provider_ids text[]
) returns void language plpgsql set plan_cache_mode = force_generic_plan as $$
begin
    insert into results (campaign_id, n, attempt, kind, account_no, at, provider_id)
    select campaigns[f.of], f.n, attempts[f.of], 0, accounts[f.of], f.at, f.id
    from unnest(groups, ns, ats, provider_ids) as f (of, n, at, id);
exception when unique_violation then
    insert into results (campaign_id, n, attempt, kind, account_no, at, provider_id)
    select campaigns[f.of], f.n, attempts[f.of], 0, accounts[f.of], f.at, f.id
    from unnest(groups, ns, ats, provider_ids) as f (of, n, at, id)
    on conflict do nothing;
end $$;

-- Puts the counters of chunks right from the facts. Used wherever a fact may not be the first one of its attempt; the
-- row lock orders it after every other writer of these counters.
create function recount_chunks(p_campaigns uuid[], p_nos bigint[]) returns void language plpgsql as $$
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
                select distinct on (r.n) r.kind from results r
                where r.campaign_id = chunk.campaign_id and r.attempt = chunk.attempt
                  and (r.n between chunk.first_n and chunk.last_n or r.n = any (chunk.members))
                order by r.n, array_position(array[1, 0, 2, 3, 5, 4]::smallint[], r.kind)
            ) best
        ) facts
        where campaign_id = chunk.campaign_id and no = chunk.no;
    end loop;
end $$;

-- The chunk that an attempt of a message belongs to.
create function chunk_of(p_campaign uuid, p_n integer, p_attempt smallint) returns bigint stable language sql as $$
    select no from chunks
    where campaign_id = p_campaign and attempt = p_attempt
      and (p_n between first_n and last_n or p_n = any (members))
    order by no desc limit 1
$$;

-- Takes in a direct message: recipient, chunk, business key and, when `p_owner` is given, the intent to send it now.
-- Verdicts: accepted; refused (recorded with its reason); duplicate (n and campaign of the message that bears the key).
create function accept_direct(
    p_tenant uuid, p_campaign uuid, p_account uuid, p_channel text, p_class text, p_variant smallint,
    p_contact uuid, p_address text, p_variables text, p_key_hash uuid, p_owner uuid, p_lease interval,
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
    if reason is not null then
        verdict := 'refused';
        return;
    end if;
    insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size,
                        epoch, owner, owned_until, watermark, intents)
    values (p_campaign, accept_direct.n, p_tenant, p_account, 1, 0, accept_direct.n, accept_direct.n, 1,
            case when p_owner is null then 0 else 1 end, p_owner, now() + p_lease,
            case when p_owner is null then 0 else 1 end,
            case when p_owner is not null then jsonb_build_array(jsonb_build_object(
                'from', 0, 'to', 1, 'at', clock_timestamp(), 'key', null, 'skip', '[]'::jsonb)) end);
    verdict := 'accepted';
end $$;

-- Who the messages went to that a provider tells of, as far as they are the tenant's. The campaign and its month are looked for once
-- a campaign. By its key only, whatever the statistics of a table say that has just grown by a million.
create function told_recipients(tenants uuid[], campaigns uuid[], ns integer[])
returns table (tenant_id uuid, campaign_id uuid, n integer, channel text, address text, variant smallint)
language plpgsql stable set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    return query
    select c.tenant_id, r.campaign_id, r.n, c.channel, r.address, r.variant
    from (select told.tenant_id, told.campaign_id, array_agg(told.n) as ns
          from unnest(tenants, campaigns, ns) as told (tenant_id, campaign_id, n)
          group by told.tenant_id, told.campaign_id) told
    cross join lateral (select k.tenant_id, k.channel from campaigns k
                        where k.id = told.campaign_id and k.tenant_id = told.tenant_id limit 1) c
    cross join lateral (select one.campaign_id, one.n, one.address, one.variant from recipients one
                        where one.campaign_id = told.campaign_id and one.n = any (told.ns) offset 0) r;
end $$;

-- Webhooks are compressed for the second or so that they wait: pglz takes three times as long as all else about it.
do $$ begin
    alter table inbox alter column bodies set compression lz4;
exception when feature_not_supported then
    raise notice 'this Postgres was built without lz4: webhooks are compressed by pglz';
end $$;

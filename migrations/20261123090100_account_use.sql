-- How many campaigns may still send over an account: asked where one is deleted, and again before its secrets are.
create function campaigns_over(tenant uuid, account uuid) returns bigint language sql stable as $$
    select count(*) from campaigns k
    where k.tenant_id = tenant and k.state in ('launching', 'sending', 'paused') and account = any (k.route)
      and (k.kind = 'campaign'
           -- Whoever waits for another account may still come to this one.
           or exists (select from chunks c where c.campaign_id = k.id and c.done_at is null))
$$;

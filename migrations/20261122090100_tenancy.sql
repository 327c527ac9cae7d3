-- The second wall between tenants: requests of the API run as `fanfare_api`, and policies show that role the rows of one
-- tenant. The owner of the tables, as whom workers and upkeep run, is held by no policy.
do $$
begin
    create role fanfare_api nologin;
exception
    -- Another database of this server, or another process at this moment, has made it.
    when duplicate_object or unique_violation then null;
end $$;
do $$
begin
    execute format('grant fanfare_api to %I', current_user);
exception
    when duplicate_object or unique_violation then null;
end $$;

-- The tenant of this transaction; null, and so no rows, where none was named.
create function this_tenant() returns uuid language sql stable
    return nullif(current_setting('fanfare.tenant', true), '')::uuid;

-- Shows `fanfare_api` the rows for which `owned` holds, and lets it write such rows only.
create function protect(wall regclass, owned text) returns void language plpgsql as $$
begin
    execute format('alter table %s enable row level security', wall);
    execute format('create policy of_this_tenant on %s to fanfare_api using (%s) with check (%s)', wall, owned, owned);
    execute format('grant select, insert, update, delete on %s to fanfare_api', wall);
end $$;

grant usage on schema public to fanfare_api;
grant usage on all sequences in schema public to fanfare_api;

select protect('tenants', 'id = this_tenant()');
select protect(wall, 'tenant_id = this_tenant()')
from unnest(array['contacts', 'suppressions', 'uploads', 'templates', 'accounts', 'campaigns', 'chunks', 'roles', 'users',
                  'sessions', 'one_time_links', 'api_keys', 'audit_log', 'audit_heads', 'idempotency_keys',
                  'business_keys']::regclass[]) wall;

-- Rows that belong to a tenant through another row.
select protect(wall, format('exists (select from %s p where p.id = %s and p.tenant_id = this_tenant())', parent, key))
from (values
    ('consents'::regclass, 'contacts', 'contact_id'),
    ('upload_rows', 'uploads', 'upload_id'),
    ('template_versions', 'templates', 'template_id'),
    ('recipients', 'campaigns', 'campaign_id'),
    ('results', 'campaigns', 'campaign_id'),
    ('events', 'campaigns', 'campaign_id'),
    ('recovery_codes', 'users', 'user_id'),
    ('refresh_tokens', 'sessions', 'session_id')
) as through (wall, parent, key);

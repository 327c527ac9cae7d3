-- A word that very many people bear costs no more than 10,000 of them: reading a million took twenty seconds.
create or replace function contacts_found(query text) returns setof uuid
stable language sql security definer set search_path = public, pg_temp rows 100 as $$
    select id from contacts
    where tenant_id = this_tenant() and erased_at is null and contact_words(name, email, phone) @@ lower(query)::tsquery
    limit 10000
$$;

-- Who has said over which channels they want to be written to gets marketing over those only. An intent looks at a person's consent
-- in any case, so the word stands beside it: looking at the preferences too would be one more look a message.

alter table consents
    -- Null: nothing was said, and the row stands for the other word alone.
    alter column granted drop not null,
    -- Whether this channel is among those that the person named; null: they named none. Kept by the trigger below.
    add column wanted boolean,
    add constraint consents_say_something check (granted is not null or wanted is not null) not valid;

create function spread_preferences() returns trigger language plpgsql as $$
declare
    named text[] := case when tg_op <> 'DELETE' then new.channels else '{}' end;
    person uuid := coalesce(new.contact_id, old.contact_id);
begin
    if cardinality(named) = 0 then
        delete from consents where contact_id = person and granted is null;
        update consents set wanted = null where contact_id = person and wanted is not null;
    else
        insert into consents as known (contact_id, channel, wanted, source)
        -- Nobody is asked whether they want to be written to in the application.
        select person, channel, channel = any (named), 'preferences' from unnest(array['email', 'sms', 'whatsapp']) channel
        on conflict (contact_id, channel) do update set wanted = excluded.wanted
        where known.wanted is distinct from excluded.wanted;
    end if;
    return null;
end $$;
create trigger preferences_spread after insert or update of channels on contact_preferences
    for each row execute function spread_preferences();
-- A person whose record goes needs nothing spread.
update contact_preferences set channels = channels;

-- Who of these must not be written to now: position (from 1) and reason. The one place that holds this rule.
create or replace function refusals(p_tenant uuid, p_channel text, p_class text, p_contacts uuid[], p_addresses text[])
returns table (at integer, reason text) stable language sql as $$
    select member.at::integer,
           -- Why it is not the consent is only asked of those who are refused.
           coalesce(suppression.reason,
                    (select 'not_preferred' from consents c
                     where c.contact_id = member.contact_id and c.channel = p_channel
                       and coalesce(c.granted, (select consent_rule = 'opt_out' from tenants t where t.id = p_tenant))),
                    'no_consent')
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
              (select coalesce(c.wanted, true)
                      and coalesce(c.granted, (select consent_rule = 'opt_out' from tenants t where t.id = p_tenant))
               from consents c where c.contact_id = member.contact_id and c.channel = p_channel),
              (select consent_rule = 'opt_out' from tenants t where t.id = p_tenant)))
$$;

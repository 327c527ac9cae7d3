-- Notifications inside the application, and the channel `in_app`: its provider is this database, its address a contact's id.

-- Whoever is told something. A row is one user's, one contact's (a campaign's message over `in_app`), or a broadcast: a
-- broadcast to 100,000 readers is one row that each of them finds, not 100,000 rows that most never look at.
create table notifications (
    -- Of a campaign's message it follows from the message's id: the same message is put here once, however often it comes.
    id uuid primary key,
    tenant_id uuid not null,
    user_id uuid references users on delete cascade,
    -- Without a foreign key, for the reason that `contacts` gives.
    contact_id uuid,
    -- Broadcasts: to the staff (all, or whoever has one of these roles, in one of these branches), to customers, or both.
    to_staff boolean,
    to_roles uuid[],
    to_branches text[],
    to_customers boolean,
    type text not null check (type ~ '^[a-z][a-z0-9_]{0,49}$'),
    title text not null,
    message text not null,
    data jsonb not null default '{}',
    priority text not null check (priority in ('low', 'medium', 'high', 'urgent')),
    created_at timestamptz not null default clock_timestamp(),
    -- Every notification ends: what nobody has looked at in a year nobody will.
    expires_at timestamptz not null default now() + interval '1 year',
    -- The message that it is, if it is one: who reads it has read the message.
    campaign_id uuid,
    n integer,
    check (num_nonnulls(user_id, contact_id, to_staff) = 1),
    check ((to_staff is null) = (to_customers is null)),
    check (to_staff is not false or to_customers),
    check ((campaign_id is null) = (n is null))
);
create index notifications_of_users on notifications (user_id, created_at desc, id desc) where user_id is not null;
create index notifications_of_contacts on notifications (contact_id, created_at desc, id desc) where contact_id is not null;
create index notifications_broadcast on notifications (tenant_id, created_at desc, id desc) where to_staff is not null;
create index notifications_by_end on notifications (expires_at);

-- What a reader did with a notification; no row: nothing yet.
create table notification_marks (
    user_id uuid not null references users on delete cascade,
    notification_id uuid not null references notifications on delete cascade,
    read_at timestamptz,
    -- No longer shown to this reader.
    removed_at timestamptz,
    primary key (user_id, notification_id)
);
create index notification_marks_by_notification on notification_marks (notification_id);

-- Over which channels a user wants to be told things of a type; no row: over all that there are.
create table notification_preferences (
    tenant_id uuid not null,
    user_id uuid not null references users on delete cascade,
    type text not null check (type ~ '^[a-z][a-z0-9_]{0,49}$'),
    channels text[] not null check (channels <@ array['email', 'sms', 'whatsapp', 'in_app']),
    updated_at timestamptz not null default now(),
    primary key (user_id, type)
);

-- Whether a broadcast is meant for a user. Who joined later is not told what was news before.
create function hears(b notifications, u users, role_slug text) returns boolean immutable language sql as $$
    select b.created_at >= u.created_at
       and (b.to_customers and role_slug = 'customer'
            or b.to_staff
               and (u.role_id = any (b.to_roles) or b.to_roles is null and role_slug <> 'customer')
               and (b.to_branches is null or u.branch = any (b.to_branches)))
$$;

-- What a user sees: their own, those of the contact that they are, broadcasts that are meant for them. The one place that
-- holds this rule.
create function notifications_of(p_tenant uuid, p_user uuid)
returns table (
    id uuid, type text, title text, message text, data jsonb, priority text, created_at timestamptz, expires_at timestamptz,
    read_at timestamptz, campaign_id uuid, n integer
) stable language sql as $$
    select told.id, told.type, told.title, told.message, told.data, told.priority, told.created_at, told.expires_at,
           m.read_at, told.campaign_id, told.n
    from users u
    join roles r on r.id = u.role_id
    cross join lateral (
        select own.* from notifications own where own.user_id = u.id
        union all
        select own.* from notifications own where own.contact_id = u.contact_id
        union all
        select b.* from notifications b where b.tenant_id = p_tenant and b.to_staff is not null and hears(b, u, r.slug)
    ) told
    left join notification_marks m on m.user_id = u.id and m.notification_id = told.id
    where u.tenant_id = p_tenant and u.id = p_user and told.tenant_id = p_tenant
      and told.expires_at > now() and m.removed_at is null
      -- Nobody opts out of what concerns the use of the system itself.
      and (told.type = 'system'
           or not exists (select from notification_preferences p
                          where p.user_id = u.id and p.type = told.type and 'in_app' <> all (p.channels)))
$$;

-- A contact that is erased leaves no texts behind.
create function forget_notifications() returns trigger language plpgsql as $$
begin
    delete from notifications where contact_id = new.id;
    return null;
end $$;
create trigger erased_contacts_leave_no_notifications after update of erased_at on contacts
    for each row when (old.erased_at is null and new.erased_at is not null) execute function forget_notifications();

select protect('notifications', 'tenant_id = this_tenant()');
select protect('notification_preferences', 'tenant_id = this_tenant()');
select protect('notification_marks',
    'exists (select from notifications p where p.id = notification_id and p.tenant_id = this_tenant())');

-- The channel. Each list only grows, so rows that are there already need not be looked at once more (`not valid`).
alter table consents drop constraint consents_channel_check,
    add constraint consents_channel_check check (channel in ('email', 'sms', 'whatsapp', 'in_app')) not valid;
alter table suppressions drop constraint suppressions_channel_check,
    add constraint suppressions_channel_check check (channel in ('email', 'sms', 'whatsapp', 'in_app')) not valid;
alter table templates drop constraint templates_channel_check,
    add constraint templates_channel_check check (channel in ('email', 'sms', 'whatsapp', 'in_app')) not valid;
alter table campaigns drop constraint campaigns_channel_check,
    add constraint campaigns_channel_check check (channel in ('email', 'sms', 'whatsapp', 'in_app')) not valid;
alter table accounts drop constraint accounts_provider_check,
    add constraint accounts_provider_check
        check (provider in ('brevo_email', 'brevo_sms', 'whatsapp_cloud', 'in_app')) not valid;

-- Where a contact is written to on a channel, as SQL over the rows of a walk.
create function contact_address(channel text) returns text immutable strict language sql as $$
    select case channel when 'email' then 'c.email' when 'in_app' then 'c.id::text' else 'c.phone' end
$$;

-- As before, with the address of the channel.
create or replace function audience_walk(k campaigns) returns text stable language plpgsql as $$
declare
    from_upload boolean := k.audience ? 'upload';
    along text := case when from_upload then 'r.time_zone, r.contact_id, r.row_no' else 'c.time_zone, c.id' end;
begin
    return format('select walked.*, $1.frozen + (row_number() over (order by %s))::integer as n from (',
            case when from_upload then 'zone, contact_id, row_no' else 'zone, contact_id' end)
        || format('select %s as zone, c.id as contact_id, %s as row_no, %s as address, c.locale, %s as variables, %s as key',
            split_part(along, ',', 1), case when from_upload then 'r.row_no' else '0::bigint' end,
            contact_address(k.channel),
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

create or replace function prepare_audience(p_campaign uuid) returns void language plpgsql as $$
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
        from (select case k.channel when 'email' then c.email when 'in_app' then c.id::text else c.phone end as address,
                     r.time_zone, c.id, r.row_no
              from upload_rows r join contacts c on c.id = r.contact_id
              where r.upload_id = (k.audience ->> 'upload')::uuid and c.erased_at is null) member
        where member.address is not null
        group by member.address having count(*) > 1;
    -- Contacts are unique by e-mail address already, and by their id.
    elsif k.channel not in ('email', 'in_app') then
        insert into duplicate_addresses (campaign_id, address, kept_contact, kept_row)
        select p_campaign, c.phone, (array_agg(c.id order by c.time_zone, c.id))[1], 0
        from contacts c
        where c.tenant_id = k.tenant_id and c.phone is not null and c.created_at <= k.launched_at and c.erased_at is null
        group by c.phone having count(*) > 1;
    end if;
    update campaigns set prepared = true, cursor_zone = '', cursor_row = 0,
        cursor_contact = '00000000-0000-0000-0000-000000000000' where id = p_campaign;
end $$;

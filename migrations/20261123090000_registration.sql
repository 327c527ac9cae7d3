-- Strangers get a role that is there, and whoever is bound to a contact is bound to one of the same tenant that is there.

update tenants t set self_registration = null
where self_registration is not null
  and not exists (select from roles r where r.tenant_id = t.id and r.slug = t.self_registration);
alter table tenants add constraint tenants_self_registration_fkey
    foreign key (id, self_registration) references roles (tenant_id, slug);

update users u set contact_id = null
where contact_id is not null
  and not exists (select from contacts c where c.tenant_id = u.tenant_id and c.id = u.contact_id);
alter table users add constraint users_contact_id_fkey
    foreign key (contact_id) references contacts (id) on delete set null;
-- For the deletion of a contact.
create index users_by_contact on users (contact_id) where contact_id is not null;

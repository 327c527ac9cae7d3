insert into templates (id, tenant_id, slug, channel, class, name) values
    ('01990000-0000-7000-8000-000000000031', '01990000-0000-7000-8000-000000000001', 'renewal', 'email', 'obligation', 'Renewal');
insert into template_versions (id, template_id, locale, version, published) values
    ('01990000-0000-7000-8000-000000000032', '01990000-0000-7000-8000-000000000031', 'en', 1, '{}');

insert into accounts (id, tenant_id, slug, provider, limits) values
    ('01990000-0000-7000-8000-000000000041', '01990000-0000-7000-8000-000000000001', 'brevo', 'brevo_email', '[{"window": "second", "requests": 1000}]');
insert into account_pace (account_id) values ('01990000-0000-7000-8000-000000000041');

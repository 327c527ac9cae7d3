insert into accounts (id, tenant_id, slug, provider, limits, configured, settings, secrets, secret_hint, secret_changed_at) values
    ('01990000-0000-7000-8000-000000000081', '01990000-0000-7000-8000-000000000001', 'kept', 'brevo_sms', '[{"window": "second", "requests": 10}]',
     false, '{"sender": "Acme"}', '\x01', 'abcd', now());

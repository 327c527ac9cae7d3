insert into template_drafts (template_id, locale, version, source, notation, variables) values
    ('01990000-0000-7000-8000-000000000031', 'en', 2,
     '{"channel": "email", "subject": "Renewal", "body": {"text": "Dear {{name}}"}}', 'single', '{name,policy_number}');
insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, state, launched_at, test) values
    ('01990000-0000-7000-8000-000000000052', '01990000-0000-7000-8000-000000000001', 'direct', '2026-11-22 test', 'email',
     'transactional', '01990000-0000-7000-8000-000000000031', 'sending', now(), true);

insert into roles (id, tenant_id, slug, name, permissions) values
    ('01990000-0000-7000-8000-000000000071', '01990000-0000-7000-8000-000000000001', 'sample_agent', 'Agent', '{notifications:read}');
insert into users (id, tenant_id, email, first_name, role_id, status, password_hash, branch, contact_id, created_at) values
    ('01990000-0000-7000-8000-000000000072', '01990000-0000-7000-8000-000000000001', 'sample.agent@acme.example', 'Agent',
     '01990000-0000-7000-8000-000000000071', 'active', 'x', 'Port Louis', '01990000-0000-7000-8000-000000000011', now() - interval '1 day');
insert into notifications (id, tenant_id, user_id, contact_id, to_staff, to_roles, to_branches, to_customers, type, title, message, data, priority, campaign_id, n) values
    ('01990000-0000-7000-8000-000000000073', '01990000-0000-7000-8000-000000000001', '01990000-0000-7000-8000-000000000072', null,
     null, null, null, null, 'commission', 'Commission', 'You earned 100 on policy P-1', '{"policy": "P-1"}', 'medium', null, null),
    ('01990000-0000-7000-8000-000000000074', '01990000-0000-7000-8000-000000000001', null, '01990000-0000-7000-8000-000000000011',
     null, null, null, null, 'policy', 'Renewal', 'Policy P-1 is due', '{}', 'high', '01990000-0000-7000-8000-000000000051', 1),
    ('01990000-0000-7000-8000-000000000075', '01990000-0000-7000-8000-000000000001', null, null,
     true, '{01990000-0000-7000-8000-000000000071}', '{Port Louis}', false, 'system', 'Maintenance', 'Saturday, 20:00', '{}', 'urgent', null, null);
insert into notification_marks (user_id, notification_id, read_at) values
    ('01990000-0000-7000-8000-000000000072', '01990000-0000-7000-8000-000000000073', now());
insert into notification_preferences (tenant_id, user_id, type, channels) values
    ('01990000-0000-7000-8000-000000000001', '01990000-0000-7000-8000-000000000072', 'payment', '{in_app,email}');

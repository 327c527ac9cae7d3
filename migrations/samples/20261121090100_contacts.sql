insert into contacts (id, tenant_id, name, email, phone, locale, time_zone, attributes) values
    ('01990000-0000-7000-8000-000000000011', '01990000-0000-7000-8000-000000000001', 'Ann', 'ann@example.com', '+23052345678', 'en', 'Indian/Mauritius', '{"policy_number": "P-1"}'),
    ('01990000-0000-7000-8000-000000000012', '01990000-0000-7000-8000-000000000001', 'Bob', null, '+23052345679', 'fr', 'Indian/Mauritius', '{}');
insert into consents (contact_id, channel, granted, source) values ('01990000-0000-7000-8000-000000000011', 'email', true, 'form');
insert into suppressions (tenant_id, channel, address, scope, reason, source) values
    ('01990000-0000-7000-8000-000000000001', 'email', 'gone@example.com', 'all', 'bounced', 'webhook');
insert into uploads (id, tenant_id, file_name, sha256, bytes, format, mapping, rows_read, rows_taken, rows_refused, contacts_created, contacts_updated) values
    ('01990000-0000-7000-8000-000000000021', '01990000-0000-7000-8000-000000000001', 'renewals.csv', '\x00', 10, 'csv', '{}', 2, 1, 1, 1, 0);
insert into upload_rows (upload_id, time_zone, contact_id, row_no, attributes) values
    ('01990000-0000-7000-8000-000000000021', 'Indian/Mauritius', '01990000-0000-7000-8000-000000000011', 2, '{"policy_number": "P-1"}');
insert into upload_problems (upload_id, row_no, field, value, reason, refused) values
    ('01990000-0000-7000-8000-000000000021', 3, 'email', 'nobody', 'not an e-mail address', true);

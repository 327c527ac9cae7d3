insert into blobs (id, tenant_id) values
    ('01990000-0000-7000-8000-0000000004b1', '01990000-0000-7000-8000-000000000001'),
    ('01990000-0000-7000-8000-0000000004b2', '01990000-0000-7000-8000-000000000001');
insert into blob_parts (blob_id, tenant_id, n, bytes) values
    ('01990000-0000-7000-8000-0000000004b1', '01990000-0000-7000-8000-000000000001', 0, 'email,name');
insert into uploads (id, tenant_id, file_name, sha256, bytes, format, state, description, options, uploaded_by, blob_id, rows_expected) values
    ('01990000-0000-7000-8000-000000000422', '01990000-0000-7000-8000-000000000001', 'arrears.csv', '\x01', 10, 'csv', 'processing', 'May', '{}',
     'user:usr_0', '01990000-0000-7000-8000-0000000004b1', 150);
insert into upload_sessions (id, tenant_id, file_name, bytes, blob_id, received, description, options, created_by) values
    ('01990000-0000-7000-8000-000000000431', '01990000-0000-7000-8000-000000000001', 'large.csv', 1000, '01990000-0000-7000-8000-0000000004b2', 0,
     '', '{}', 'key:key_0');

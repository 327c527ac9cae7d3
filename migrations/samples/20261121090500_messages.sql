insert into recipients (campaign_id, n, variant, contact_id, address, variables) values
    ('01990000-0000-7000-8000-000000000051', 1, 0, '01990000-0000-7000-8000-000000000011', 'ann@example.com', '[{"policy_number": "P-1"}]'),
    ('01990000-0000-7000-8000-000000000051', 2, 0, '01990000-0000-7000-8000-000000000012', 'bob@example.com', '[{"policy_number": "P-2"}]');
insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, first_n, last_n, size, epoch, watermark) values
    ('01990000-0000-7000-8000-000000000051', 1, '01990000-0000-7000-8000-000000000001', '01990000-0000-7000-8000-000000000041', 1, 0, 1, 2, 2, 1, 2);
insert into chunks (campaign_id, no, tenant_id, account_id, attempt, burned, members, size) values
    ('01990000-0000-7000-8000-000000000051', 4294967296, '01990000-0000-7000-8000-000000000001', '01990000-0000-7000-8000-000000000041', 2, 1, '{2}', 1);
insert into results (campaign_id, n, attempt, kind, account_no, provider_id, reason) values
    ('01990000-0000-7000-8000-000000000051', 1, 1, 0, 1, 'id@relay', null),
    ('01990000-0000-7000-8000-000000000051', 2, 1, 1, 1, null, 'throttled');
insert into events (campaign_id, n, kind, dedup, at) values
    ('01990000-0000-7000-8000-000000000051', 1, 'delivered', '01990000-0000-7000-8000-000000000061', now());
insert into business_keys (tenant_id, key_hash, campaign_id, n) values
    ('01990000-0000-7000-8000-000000000001', '01990000-0000-7000-8000-000000000071', '01990000-0000-7000-8000-000000000051', 1);
insert into inbox (account_id, webhooks, bytes, bodies) values ('01990000-0000-7000-8000-000000000041', 2, 4, array['{}', '{}']::bytea[]);

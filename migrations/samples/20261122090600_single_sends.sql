insert into message_references (tenant_id, name, value, campaign_id, n) values
    ('01990000-0000-7000-8000-000000000001', 'policyId', 'POL123456', '01990000-0000-7000-8000-000000000051', 1);
insert into prices (tenant_id, account_id, channel, prefix, micros, currency) values
    ('01990000-0000-7000-8000-000000000001', '01990000-0000-7000-8000-000000000041', 'email', '', 50000, 'MUR');
insert into allowed_addresses (tenant_id, channel, address) values
    ('01990000-0000-7000-8000-000000000001', 'email', '@example.com');

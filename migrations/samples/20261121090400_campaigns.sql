insert into campaigns (id, tenant_id, kind, name, channel, class, template_id, audience, state, launched_at, variants, locales, variables, route, prepared, cursor_zone, cursor_contact, cursor_row, frozen) values
    ('01990000-0000-7000-8000-000000000051', '01990000-0000-7000-8000-000000000001', 'campaign', 'Renewals', 'email', 'obligation',
     '01990000-0000-7000-8000-000000000031', '{"upload": "01990000-0000-7000-8000-000000000021"}', 'sending', now(),
     '{01990000-0000-7000-8000-000000000032}', '{en}', '{policy_number}', '{01990000-0000-7000-8000-000000000041}', true,
     'Indian/Mauritius', '01990000-0000-7000-8000-000000000011', 2, 1);
insert into duplicate_addresses (campaign_id, address, kept_contact, kept_row) values
    ('01990000-0000-7000-8000-000000000051', 'ann@example.com', '01990000-0000-7000-8000-000000000011', 2);

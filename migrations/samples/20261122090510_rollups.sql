insert into event_notes (campaign_id, variant, measures, hour, numbers) values
    ('01990000-0000-7000-8000-000000000051', 0, 1, date_trunc('hour', now()), '\x00000002');
insert into campaign_marks (campaign_id, measure, block, bits) values
    ('01990000-0000-7000-8000-000000000051', 'delivered', 0, decode('02' || repeat('00', 1023), 'hex'));
insert into campaign_hours (campaign_id, hour, measure, variant, recipients) values
    ('01990000-0000-7000-8000-000000000051', date_trunc('hour', now()), 'delivered', 0, 1);
insert into rollup_checks (campaign_id, folded_at) values ('01990000-0000-7000-8000-000000000051', now());
insert into conversions (campaign_id, n, kind, at) values ('01990000-0000-7000-8000-000000000051', 1, 'payment', now());

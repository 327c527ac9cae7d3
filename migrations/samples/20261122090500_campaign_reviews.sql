update tenants set review_above = 1000 where id = '01990000-0000-7000-8000-000000000001';
update campaigns set authors = '{command}', target_count = 2 where id = '01990000-0000-7000-8000-000000000051';
insert into campaign_reviews (campaign_id, action, actor, comment) values
    ('01990000-0000-7000-8000-000000000051', 'submitted', 'command', null);
insert into preflights (campaign_id, campaign_updated_at, at, report) values
    ('01990000-0000-7000-8000-000000000051', now(), now(), '{"recipients": 2, "sendable": 1}');
insert into preflight_problems (campaign_id, n, contact_id, address, reason) values
    ('01990000-0000-7000-8000-000000000051', 2, '01990000-0000-7000-8000-000000000012', 'bob@example.com', 'bounced');

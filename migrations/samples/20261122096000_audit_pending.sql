insert into audit_pending (tenant_id, at, actor, action, subject, detail, request_id)
select id, now(), 'command', 'campaign.launch', 'camp_1', '{"by": "hand"}', 'look-1' from tenants limit 1;

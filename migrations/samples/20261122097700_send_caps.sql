insert into send_caps (tenant_id, channel, prefix, per_day) values ('01990000-0000-7000-8000-000000000001', 'sms', '230', 100);
select within_caps('01990000-0000-7000-8000-000000000001', 'sms', '+23052345678');

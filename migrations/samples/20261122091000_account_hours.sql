insert into account_hours (account_id, hour, code, requests, units, answer_us, answers)
select id, date_trunc('hour', now()), 230, 2, 3, 90000, '{0,0,0,1,1}' from accounts order by id limit 1;

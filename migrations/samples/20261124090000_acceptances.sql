-- A run of the campaign that the samples before have, beside the rows of its results.
insert into acceptances (campaign_id, first_n, last_n, attempt, account_no, ats, provider_ids)
select id, 101, 103, 1, 1, array[now(), null, now()], array['<a@relay>', null, '<b@relay>'] from campaigns limit 1;
select * from campaigns k cross join lateral facts_of(k.id, 103);

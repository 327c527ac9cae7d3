update campaigns set target_count = 12, target_exact = false, target_most = 25000
where id = '01990000-0000-7000-8000-000000000051'
returning id, target_count, target_most;

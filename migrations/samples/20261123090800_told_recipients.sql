select r.* from recipients known join campaigns k on k.id = known.campaign_id
cross join lateral told_recipients(array[k.tenant_id], array[known.campaign_id], array[known.n]) r;

select recount_chunks(array_agg(campaign_id), array_agg(no)) from chunks;

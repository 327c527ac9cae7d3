-- Only functions: they must still find the chunks of the rows that are there.
select recount_chunks(array_agg(campaign_id), array_agg(chunk_of(campaign_id, n, attempt))) from results;

-- The chunks of one campaign, by their key whatever the statistics say. A single send is a chunk of its own: of a month with
-- hundreds of thousands of those and one campaign, statistics have two campaigns and expect half of all chunks, and a plan would
-- read the month from end to end each time that somebody looks how far the campaign is.
create function chunks_of(campaign uuid)
returns table (done_at timestamptz, size integer, accepted integer, moved integer, failed integer, suppressed integer, unknown integer)
stable language sql set enable_seqscan = off set enable_bitmapscan = off as $$
    select c.done_at, c.size, c.accepted, c.moved, c.failed, c.suppressed, c.unknown
    from chunks c where c.campaign_id = campaign
$$;

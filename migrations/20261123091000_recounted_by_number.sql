-- As before, and of the members of a list each is looked up by its number: a campaign that no statistics know yet seems to have one
-- result, and all that it has were read for each chunk.
create or replace function recount_chunks(p_campaigns uuid[], p_nos bigint[]) returns void language plpgsql as $$
declare
    chunk chunks;
begin
    for chunk in
        select c.* from chunks c
        join (select distinct * from unnest(p_campaigns, p_nos) as w (campaign_id, no)) w using (campaign_id, no)
        order by c.campaign_id, c.no
        for update of c
    loop
        update chunks set
            accepted = facts.accepted, failed = facts.failed, suppressed = facts.suppressed,
            unknown = facts.unknown, moved = facts.moved,
            done_at = case when facts.members = size then coalesce(done_at, now()) end
        from (
            select count(*) as members,
                   count(*) filter (where kind = 0) as accepted,
                   count(*) filter (where kind = 1) as moved,
                   count(*) filter (where kind = 2) as failed,
                   count(*) filter (where kind = 3) as suppressed,
                   count(*) filter (where kind in (4, 5)) as unknown
            from (
                -- Who moved on is counted there; else of several facts the most certain holds.
                select distinct on (n) kind from (
                    select r.n, r.kind from results r
                    where r.campaign_id = chunk.campaign_id and r.attempt = chunk.attempt
                      and r.n between chunk.first_n and chunk.last_n
                    union all
                    select member.n, r.kind from unnest(chunk.members) as member (n)
                    cross join lateral (select r.kind from results r
                                        where r.campaign_id = chunk.campaign_id and r.n = member.n and r.attempt = chunk.attempt
                                        offset 0) r
                ) said
                order by n, array_position(array[1, 0, 2, 3, 5, 4]::smallint[], kind)
            ) best
        ) facts
        where campaign_id = chunk.campaign_id and no = chunk.no;
    end loop;
end $$;

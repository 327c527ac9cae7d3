-- The chunk of an attempt, by the key of `chunks`: a day's single sends are a chunk each, and to walk through them took as long
-- as there were messages. A launched range bears the number of its first recipient, so the last that begins no later than a
-- recipient is theirs; lists are numbered beyond any recipient.
create or replace function chunk_of(p_campaign uuid, p_n integer, p_attempt smallint) returns bigint stable language sql as $$
    select no from (
        select no from (
            select no, attempt, last_n from chunks
            where campaign_id = p_campaign and no <= p_n
            order by no desc limit 1
        ) launched
        where attempt = p_attempt and last_n >= p_n
        union all
        select no from chunks
        where campaign_id = p_campaign and no > 2147483647 and attempt = p_attempt and p_n = any (members)
    ) found
    order by no desc limit 1
$$;

-- Either kind of chunk finds its rows by the index; asked for both at once, a plan may read all of a campaign.
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
                    select r.n, r.kind from unnest(chunk.members) as member (n)
                    join results r on r.campaign_id = chunk.campaign_id and r.n = member.n and r.attempt = chunk.attempt
                ) said
                order by n, array_position(array[1, 0, 2, 3, 5, 4]::smallint[], kind)
            ) best
        ) facts
        where campaign_id = chunk.campaign_id and no = chunk.no;
    end loop;
end $$;

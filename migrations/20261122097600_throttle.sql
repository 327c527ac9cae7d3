-- A campaign may be slower than its account: at most so many messages begin in any minute. Its chunks are small, a second's
-- worth, and one takes its turn when it is claimed: the turn lasts as long as its messages may take. A turn that was taken late
-- shortens the next by a second at most, so that nothing is made up for after a pause or an outage.
alter table campaigns
    add column throttle_per_minute integer check (throttle_per_minute > 0),
    -- The next turn; null where nobody has to wait.
    add column throttled_until timestamptz;

-- Members of a chunk of such a campaign, at most. Of 62 seconds, because a minute may see a chunk and a second more than its own.
create function throttled_chunk(per_minute integer) returns integer language sql immutable strict parallel safe as $$
    select greatest(1, per_minute / 62)
$$;

-- Whether a chunk may begin now, in which case others of its campaign wait for their turn.
create function take_turn(p_campaign uuid, p_size integer) returns boolean language plpgsql cost 10000 as $$
begin
    update campaigns
    set throttled_until = greatest(throttled_until, clock_timestamp() - interval '1 second')
                          + p_size * interval '62 seconds' / throttle_per_minute
    -- Nobody waits for a slice that is being frozen: the turn comes again.
    where id = (select id from campaigns
                where id = p_campaign and (throttled_until is null or throttled_until <= clock_timestamp())
                for no key update skip locked);
    return found;
end $$;

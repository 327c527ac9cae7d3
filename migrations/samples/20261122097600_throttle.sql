update campaigns set throttle_per_minute = 600 where kind = 'campaign';
select take_turn(id, throttled_chunk(throttle_per_minute)) from campaigns where kind = 'campaign';

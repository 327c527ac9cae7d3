-- Admits people whom an account may write to: at most LIMIT distinct ones in any 24 hours.
--
-- KEYS[1]  sorted set: hash of an address, by the time of the latest message; KEYS[2]  hash: since, ghosts
-- ARGV     limit, ghosts ('' when not known), then hashes of addresses
-- Ghosts are people of whom only the number is known, because Redis lost the rest; they count for a day.
-- Answer   {"unseeded"}, or the time, people counted now, then for each address the microseconds to wait, 0 where admitted

local DAY = 86400000000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local limit = tonumber(ARGV[1])

local since = redis.call('HGET', KEYS[2], 'since')
if not since then
    if ARGV[2] == '' then return { 'unseeded' } end
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[2], 'since', string.format('%d', now), 'ghosts', ARGV[2])
    since = now
end
local ghosts, ghosts_leave = tonumber(redis.call('HGET', KEYS[2], 'ghosts')), tonumber(since) + DAY
if now >= ghosts_leave then ghosts = 0 end

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%d', now - DAY))
local counted = redis.call('ZCARD', KEYS[1]) + ghosts
local waits = {}
for i = 3, #ARGV do
    local known = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if known or counted < limit then
        redis.call('ZADD', KEYS[1], string.format('%d', now), ARGV[i])
        if not known then counted = counted + 1 end
        waits[#waits + 1] = 0
    else
        local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
        local leaves = oldest and tonumber(oldest) + DAY or ghosts_leave
        if ghosts > 0 then leaves = math.min(leaves, ghosts_leave) end
        waits[#waits + 1] = math.max(1000000, leaves - now)
    end
end
return { now, counted, unpack(waits) }

-- Takes one message for each pair that may have one: one in EVERY, up to BURST at once, then the wait that they cost.
--
-- KEYS[1]  when this account's pairs were first counted here; KEYS[2…]  a pair each: when its debt is paid off
-- Answer   microseconds to wait for each pair, 0 where the message is taken

local EVERY, BURST = 6000000, 45
local DEBT = EVERY * (BURST - 1)

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local born = tonumber(redis.call('GET', KEYS[1]))
if not born then
    born = now
    redis.call('SET', KEYS[1], string.format('%d', now))
end

local waits = {}
for i = 2, #KEYS do
    -- A pair without a key has not written lately, or its key was lost when the account's was: one message then.
    local paid = tonumber(redis.call('GET', KEYS[i])) or (born + DEBT)
    local wait = math.max(0, paid - now - DEBT)
    if wait == 0 then
        paid = math.max(paid, now) + EVERY
        redis.call('SET', KEYS[i], string.format('%d', paid), 'PX', math.ceil((paid - now) / 1000))
    end
    waits[i - 1] = wait
end
return waits

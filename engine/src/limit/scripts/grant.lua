-- Gives an account's next time slots. One key, so one node of a cluster and one order for all processes.
--
-- KEYS[1]  hash: epoch, next, step, gen, pace, blocked, and one JSON list [[bucket, count], …] a long window
-- ARGV     epoch, count, ahead, pace, generation, block, windows, then for each window: width, limit, seed
-- Times in microseconds by this server's clock. The arithmetic is that of timeline.rs.
-- Answer   {"ok", now, first, step, count, wait, reason, generation} or {"stale"} or {"unseeded"}

local SAFETY, SPARE, LEAST_SHARE, KEPT = 0.98, 1, 0.9, 101
local LONGEST_AHEAD, EXPIRY = 20000, 10000
local LONGEST_BLOCK = 3600000000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local epoch, count, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local pace, generation, block = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local held = redis.call('HMGET', KEYS[1], 'epoch', 'next', 'step', 'gen', 'pace', 'blocked')
local held_epoch = tonumber(held[1])
-- Permits come from elsewhere, or have since then: the asker has yet to learn it.
if held_epoch and held_epoch > epoch then return { 'stale' } end
local empty = not held_epoch or held_epoch < epoch

local windows, longest = {}, 0
for i = 1, tonumber(ARGV[7]) do
    local at = 5 + i * 3
    windows[i] = { width = tonumber(ARGV[at]), limit = tonumber(ARGV[at + 1]), field = 'w' .. ARGV[at] }
    longest = math.max(longest, windows[i].width * 102)
    local known = empty and ARGV[at + 2] or redis.call('HGET', KEYS[1], windows[i].field)
    -- Without its past a window must not be used: the asker brings it from Postgres.
    if not known then known = ARGV[at + 2] end
    if known == '' then return { 'unseeded' } end
    windows[i].buckets = cjson.decode(known)
end
if empty then redis.call('DEL', KEYS[1]) end

-- The pace of the latest change holds, whoever has not heard of it yet.
local held_generation = tonumber(held[4])
if not empty and held_generation and held_generation > generation then
    pace, generation = tonumber(held[5]), held_generation
end
local step = 1000000 / math.max(pace * SAFETY - SPARE, pace * LEAST_SHARE)

local first, held_step = tonumber(held[2]), tonumber(held[3])
if empty then
    -- Nobody knows what was given a moment ago: begin behind all of it.
    first, held_step = now + LONGEST_AHEAD + EXPIRY + step, LONGEST_AHEAD + EXPIRY + step
elseif first < now then
    first = now
elseif first > now + LONGEST_AHEAD + math.max(step, held_step) + 5000 then
    -- This clock was set back: leave a second out, once.
    first, held_step = now + 1000000, 1100000
end

local blocked = empty and 0 or math.min(tonumber(held[6]) or 0, now + LONGEST_BLOCK)
if block > 0 then blocked = math.max(blocked, now + math.min(block, LONGEST_BLOCK)) end

local horizon, room = now + ahead, 0
if first <= horizon then room = math.floor((horizon - first) / step) + 1 end
local given, wait, reason = math.min(count, room), 0, 'busy'
if blocked > now then
    given, wait, reason = 0, blocked - now, 'blocked'
end

for _, window in ipairs(windows) do
    local current, kept, total = math.floor(first / window.width), {}, 0
    for _, bucket in ipairs(window.buckets) do
        if bucket[1] >= current - KEPT then
            kept[#kept + 1] = bucket
            total = total + bucket[2]
        end
    end
    window.current, window.buckets = current, kept
    local left = math.max(0, window.limit - total)
    if reason ~= 'blocked' and (left < given or left == 0) then
        given, reason = math.min(given, left), 'exhausted'
        if kept[1] then wait = math.max(wait, (kept[1][1] + KEPT + 1) * window.width - now, 1000) end
    end
end

local fields = {}
for _, window in ipairs(windows) do
    local last = window.buckets[#window.buckets]
    if given > 0 then
        if last and last[1] >= window.current then
            last[2] = last[2] + given
        else
            window.buckets[#window.buckets + 1] = { window.current, given }
        end
    end
    fields[#fields + 1] = window.field
    fields[#fields + 1] = #window.buckets > 0 and cjson.encode(window.buckets) or '[]'
end

local after = first + step * given
if given > 0 then held_step = step end
if wait == 0 and given < count then wait = math.max(0, after - horizon) end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'next', string.format('%.2f', after),
    'step', string.format('%.2f', held_step or step), 'gen', string.format('%d', generation),
    'pace', string.format('%.6f', pace), 'blocked', string.format('%d', blocked), unpack(fields))
redis.call('PEXPIRE', KEYS[1], math.ceil(math.max(LONGEST_BLOCK + 60000000, longest) / 1000))

return { 'ok', now, string.format('%.2f', first), string.format('%.6f', step), given,
    math.ceil(wait), reason, generation }

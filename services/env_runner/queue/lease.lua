-- KEYS: active. ARGV: prefix of an evaluation's keys, group, consumer, how many evaluations to skip, their ids, then of
-- each lease that has fallen silent: evaluation id, entry, delivery count, renewals.
-- Leases an episode of the evaluation whose turn it is, leaving out those to skip and those that could not take a
-- result: an episode that was given back, else one whose lease is silent, else the next.
-- Returns evaluation id, entry, delivery count, renewals, episode id, its own part of the spec, and the part that all
-- episodes share; nil where there is none.
local prefix, group, consumer = ARGV[1], ARGV[2], ARGV[3]
local last_skipped = 4 + tonumber(ARGV[4])
local skipped = {}
for i = 5, last_skipped do skipped[ARGV[i]] = true end
local silent = {}
for i = last_skipped + 1, #ARGV, 4 do
    local of = silent[ARGV[i]] or {}
    silent[ARGV[i]] = of
    of[#of + 1] = {entry = ARGV[i + 1], deliveries = tonumber(ARGV[i + 2]), renewals = ARGV[i + 3]}
end

-- The lease on an entry, if there is one: its delivery count. Wrong types read as none.
local function leased(queue, entry)
    local pending = redis.pcall('XPENDING', queue, group, entry, entry, 1)[1]
    return pending and pending[4]
end

-- Takes a lease over; an entry that is gone from the stream is forgotten.
local function claim(queue, entry, deliveries)
    local claimed = redis.call('XCLAIM', queue, group, consumer, 0, entry)[1]
    if claimed then return claimed, deliveries + 1 end
    redis.call('XACK', queue, group, entry)
end

local function take(id)
    local key = prefix .. id
    local queue = key .. ':queue'
    local given_back = redis.pcall('LPOP', key .. ':released')
    while type(given_back) == 'string' do
        local deliveries = leased(queue, given_back)
        if deliveries then
            local entry, count = claim(queue, given_back, deliveries)
            if entry then return entry, count end
        end
        given_back = redis.pcall('LPOP', key .. ':released')
    end
    for _, one in ipairs(silent[id] or {}) do
        local renewals = renewals_of(key .. ':renewals', one.entry)
        if leased(queue, one.entry) == one.deliveries and renewals == one.renewals then
            local entry, count = claim(queue, one.entry, one.deliveries)
            if entry then return entry, count end
        end
    end
    local read = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1, 'STREAMS', queue, '>')
    return read and read[1] and read[1][2][1], 1
end

for _ = 1, redis.call('LLEN', KEYS[1]) do
    local id = redis.call('LMOVE', KEYS[1], KEYS[1], 'LEFT', 'RIGHT')
    local key = prefix .. id
    local entry, deliveries
    if not skipped[id] and sound(key) and countable(key) then entry, deliveries = take(id) end
    while entry do
        local episode = entry[2][2]
        local spec = redis.pcall('HGET', key .. ':specs', episode)
        if type(spec) == 'string' then
            local renewals = count_renewal(key .. ':renewals', entry[1])
            return {id, entry[1], deliveries, renewals, episode, spec, redis.call('HGET', key, 'shared') or '{}'}
        end
        -- Its spec is lost, so nobody can play it. The reconciler reports that.
        redis.call('XACK', key .. ':queue', group, entry[1])
        redis.call('XDEL', key .. ':queue', entry[1])
        entry, deliveries = take(id)
    end
end
return nil

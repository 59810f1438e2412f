"""The Lua scripts of the job store: each runs in Redis as a whole. The table of keys is in `jobs`."""

from __future__ import annotations

from typing import Final

SUBMIT: Final = """
-- KEYS: submissions, evaluations, evaluation, manifest, specs.
-- ARGV: id, idempotency key or '', evaluation, time of creation, what all specs share, then episode id and the rest of
-- its spec in turn.
-- Writes it whole, or not at all if it or its key is known; returns the id that it goes by.
if ARGV[2] ~= '' then
    local earlier = redis.call('HGET', KEYS[1], ARGV[2])
    if earlier then return earlier end
end
if redis.call('EXISTS', KEYS[3]) == 1 then return ARGV[1] end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], ARGV[2], ARGV[1]) end
redis.call('HSET', KEYS[3], 'evaluation', ARGV[3], 'shared', ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
for first = 6, #ARGV, 1000 do
    local last = math.min(first + 999, #ARGV)
    local ids = {}
    for i = first, last, 2 do ids[#ids + 1] = ARGV[i] end
    redis.call('RPUSH', KEYS[4], unpack(ids))
    redis.call('HSET', KEYS[5], unpack(ARGV, first, last))
end
return ARGV[1]
"""

ENQUEUE: Final = """
-- KEYS: active, evaluation, manifest, results, queue. ARGV: evaluation id, group.
-- Adds what the manifest lists and neither the results nor the queue hold; returns how many.
if redis.call('HEXISTS', KEYS[2], 'cancelled') == 1 then return 0 end
local known = {}
for _, episode in ipairs(redis.call('HKEYS', KEYS[4])) do known[episode] = true end
for _, entry in ipairs(redis.call('XRANGE', KEYS[5], '-', '+')) do known[entry[2][2]] = true end
local added = 0
for _, episode in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
    if not known[episode] then
        redis.call('XADD', KEYS[5], '*', 'episode', episode)
        added = added + 1
    end
end
if redis.call('XLEN', KEYS[5]) > 0 then
    redis.pcall('XGROUP', 'CREATE', KEYS[5], ARGV[2], '0')
    redis.call('LREM', KEYS[1], 0, ARGV[1])
    redis.call('RPUSH', KEYS[1], ARGV[1])
end
return added
"""

LEASE: Final = """
-- KEYS: active. ARGV: prefix of an evaluation's keys, group, consumer, lease in ms, then ids of evaluations to skip.
-- An episode of the evaluation whose turn it is, an abandoned one first: entry, delivery count, episode id, its own
-- part of the spec, and the part that all episodes share. Nil: none.
local skipped = {}
for i = 5, #ARGV do skipped[ARGV[i]] = true end
for _ = 1, redis.call('LLEN', KEYS[1]) do
    local id = redis.call('LMOVE', KEYS[1], KEYS[1], 'LEFT', 'RIGHT')
    local evaluation = ARGV[1] .. id
    local queue = evaluation .. ':queue'
    local abandoned = not skipped[id] and redis.pcall('XPENDING', queue, ARGV[2], 'IDLE', ARGV[4], '-', '+', 1)[1]
    local entry, deliveries
    if skipped[id] then
        entry = nil
    elseif abandoned then
        entry = redis.call('XCLAIM', queue, ARGV[2], ARGV[3], ARGV[4], abandoned[1])[1]
        deliveries = abandoned[4] + 1
    else
        local read = redis.pcall('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', 1, 'STREAMS', queue, '>')
        entry = read and read[1] and read[1][2][1]
        deliveries = 1
    end
    if entry then
        local own = redis.call('HGET', evaluation .. ':specs', entry[2][2])
        return {entry[1], deliveries, entry[2][2], own, redis.call('HGET', evaluation, 'shared') or '{}'}
    end
end
return nil
"""

_HOLDS: Final = """
local function holds(queue, group, entry, consumer, deliveries)
    local pending = redis.pcall('XPENDING', queue, group, entry, entry, 1)[1]
    return pending and pending[2] == consumer and pending[4] == tonumber(deliveries)
end
"""

RENEW: Final = (
    _HOLDS
    + """
-- KEYS: queue. ARGV: group, entry, consumer, deliveries. Returns 1 while the lease holds.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'JUSTID')
return 1
"""
)

RELEASE: Final = (
    _HOLDS
    + """
-- KEYS: queue. ARGV: group, entry, consumer, deliveries, idle ms, delivery count to leave behind.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'IDLE', ARGV[5], 'RETRYCOUNT', ARGV[6], 'JUSTID')
return 1
"""
)

COMMIT: Final = (
    _HOLDS
    + """
-- KEYS: queue, evaluation, results, trajectories, events, active, dead.
-- ARGV: group, entry, consumer, deliveries, episode, light, full, score, errored, dead, evaluation id, spec, and the
-- checkpoints that made it (JSON).
-- Stores the result only if the lease holds and none is there, counts it only then, and acknowledges.
-- Returns -1, and changes nothing, if a checkpoint that made the result is not the evaluation's.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
local evaluation = redis.call('HGET', KEYS[2], 'evaluation')
if evaluation then
    local versions = cjson.decode(evaluation).versions
    for place, made_by in pairs(cjson.decode(ARGV[13])) do
        local model = versions[place]
        local expected = type(model) == 'table' and string.sub(model.sha256, 1, 12)
        if expected ~= made_by then return -1 end
    end
end
local stored = redis.call('HSETNX', KEYS[3], ARGV[5], ARGV[6])
if stored == 1 then
    redis.call('HSET', KEYS[4], ARGV[5], ARGV[7])
    redis.call('HINCRBY', KEYS[2], 'finished', 1)
    redis.call('HINCRBY', KEYS[2], 'errored', ARGV[9])
    redis.call('HINCRBY', KEYS[2], 'score_sum', ARGV[8])
    redis.call('XADD', KEYS[5], '*', 'result', ARGV[6])
    if ARGV[10] == '1' then redis.call('XADD', KEYS[7], '*', 'spec', ARGV[12]) end
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[1], ARGV[2])
if redis.call('XLEN', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[1])
    redis.call('LREM', KEYS[6], 0, ARGV[11])
end
return stored
"""
)

TAKE_BACK: Final = """
-- KEYS: evaluation, results, trajectories, events. ARGV: episode id and the id of its event in turn.
-- Takes back the results of these episodes, those that are still there and errored.
for i = 1, #ARGV, 2 do
    local light = redis.call('HGET', KEYS[2], ARGV[i])
    local result = light and cjson.decode(light)
    if result and result.error ~= cjson.null then
        redis.call('HDEL', KEYS[2], ARGV[i])
        redis.call('HDEL', KEYS[3], ARGV[i])
        redis.call('XDEL', KEYS[4], ARGV[i + 1])
        redis.call('HINCRBY', KEYS[1], 'finished', -1)
        redis.call('HINCRBY', KEYS[1], 'errored', -1)
        redis.call('HINCRBY', KEYS[1], 'score_sum', 0 - result.score)
    end
end
"""

CANCEL: Final = """
-- KEYS: active, evaluation, queue. ARGV: evaluation id. With the queue go its leases.
redis.call('HSET', KEYS[2], 'cancelled', 1)
redis.call('LREM', KEYS[1], 0, ARGV[1])
redis.call('DEL', KEYS[3])
"""

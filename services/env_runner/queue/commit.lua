-- KEYS: queue, evaluation, results, trajectories, events, active, dead, renewals, released.
-- ARGV: group, entry, consumer, deliveries, episode, light, full, score, errored, dead, evaluation id, spec, and the
-- checkpoints that made it (JSON).
-- Writes nothing where a key is of another type than it should be, or a counter or the header cannot be read: a script
-- that fails half-way is not undone.
-- Stores the result only if the lease holds and none is there, counts it only then, and acknowledges.
-- Returns -1, and changes nothing, if a checkpoint that made the result is not the evaluation's.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
if not sound(KEYS[2]) then return redis.error_reply('WRONGTYPE a key of ' .. KEYS[2]) end
if not (is_of(KEYS[6], 'list') and is_of(KEYS[7], 'stream')) then return redis.error_reply('WRONGTYPE a shared key') end
if not countable(KEYS[2]) then return redis.error_reply('WRONGTYPE a counter of ' .. KEYS[2]) end
local evaluation = redis.call('HGET', KEYS[2], 'evaluation')
if evaluation then
    local readable, header = pcall(cjson.decode, evaluation)
    if not readable or type(header) ~= 'table' then return redis.error_reply('WRONGTYPE the header of ' .. KEYS[2]) end
    local versions = type(header.versions) == 'table' and header.versions or {}
    for place, made_by in pairs(cjson.decode(ARGV[13])) do
        local model = versions[place]
        local expected = type(model) == 'table' and string.sub(tostring(model.sha256), 1, 12)
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
redis.call('HDEL', KEYS[8], ARGV[2])
if redis.call('XLEN', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[1], KEYS[8], KEYS[9])
    redis.call('LREM', KEYS[6], 0, ARGV[11])
end
return stored

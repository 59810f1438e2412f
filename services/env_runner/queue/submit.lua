-- KEYS: submissions, evaluations, evaluation, manifest, specs.
-- ARGV: id, idempotency key or '', evaluation, time of creation, what all specs share, then episode id and the rest
-- of its spec in turn.
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

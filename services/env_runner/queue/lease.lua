-- KEYS: active. ARGV: prefix of an evaluation's keys, group, consumer, lease in ms.
-- An episode of the evaluation whose turn it is, an abandoned one first: entry, delivery count, spec. Nil: none.
for _ = 1, redis.call('LLEN', KEYS[1]) do
    local evaluation = ARGV[1] .. redis.call('LMOVE', KEYS[1], KEYS[1], 'LEFT', 'RIGHT')
    local queue = evaluation .. ':queue'
    local abandoned = redis.pcall('XPENDING', queue, ARGV[2], 'IDLE', ARGV[4], '-', '+', 1)[1]
    local entry, deliveries
    if abandoned then
        entry = redis.call('XCLAIM', queue, ARGV[2], ARGV[3], ARGV[4], abandoned[1])[1]
        deliveries = abandoned[4] + 1
    else
        local read = redis.pcall('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', 1, 'STREAMS', queue, '>')
        entry = read and read[1] and read[1][2][1]
        deliveries = 1
    end
    if entry then
        return {entry[1], deliveries, redis.call('HGET', evaluation .. ':specs', entry[2][2])}
    end
end
return nil

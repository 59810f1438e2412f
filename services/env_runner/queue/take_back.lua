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

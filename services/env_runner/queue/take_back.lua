-- KEYS: evaluation, results, trajectories, events. ARGV: episode id and the id of its event in turn.
-- Takes back the results of these episodes, those that are still there and errored. Changes nothing where a counter
-- cannot be read, and leaves a result that cannot be read.
if not countable(KEYS[1]) then return redis.error_reply('WRONGTYPE a counter of ' .. KEYS[1]) end
for i = 1, #ARGV, 2 do
    local light = redis.call('HGET', KEYS[2], ARGV[i])
    local readable, result = pcall(cjson.decode, light or '')
    local score = readable and type(result) == 'table' and tonumber(result.score)
    if score and result.error ~= cjson.null then
        redis.call('HDEL', KEYS[2], ARGV[i])
        redis.call('HDEL', KEYS[3], ARGV[i])
        redis.call('XDEL', KEYS[4], ARGV[i + 1])
        redis.call('HINCRBY', KEYS[1], 'finished', -1)
        redis.call('HINCRBY', KEYS[1], 'errored', -1)
        redis.call('HINCRBY', KEYS[1], 'score_sum', 0 - score)
    end
end

-- KEYS: active, evaluation, manifest, results, queue, specs. ARGV: evaluation id, group.
-- Adds what the manifest lists, has a spec, and is neither in the results nor in the queue; returns how many.
if redis.call('HEXISTS', KEYS[2], 'cancelled') == 1 then return 0 end
local known = {}
for _, episode in ipairs(redis.call('HKEYS', KEYS[4])) do known[episode] = true end
for _, entry in ipairs(redis.call('XRANGE', KEYS[5], '-', '+')) do known[entry[2][2]] = true end
local added = 0
for _, episode in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
    if not known[episode] and redis.call('HEXISTS', KEYS[6], episode) == 1 then
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

-- How often a lease was given and renewed, as text; '0' where something else stands there.
local function renewals_of(key, entry)
    local count = redis.pcall('HGET', key, entry)
    return type(count) == 'string' and #count < 16 and string.match(count, '^%d+$') or '0'
end

-- Counts one more renewal and returns the new count. What is no number is replaced: nothing depends on its value.
local function count_renewal(key, entry)
    local count = redis.pcall('HINCRBY', key, entry, 1)
    if type(count) == 'number' and count > 0 and count < 1e15 then return count end
    redis.call('HSET', key, entry, 1)
    return 1
end

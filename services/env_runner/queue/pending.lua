-- KEYS: active. ARGV: prefix of an evaluation's keys, group, how many at most of each evaluation.
-- All leases of all evaluations, four values each: evaluation id, entry, delivery count, renewals.
local found = {}
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    local key = ARGV[1] .. id
    local pending = redis.pcall('XPENDING', key .. ':queue', ARGV[2], '-', '+', ARGV[3])
    for _, lease in ipairs(pending) do
        found[#found + 1] = id
        found[#found + 1] = lease[1]
        found[#found + 1] = tostring(lease[4])
        found[#found + 1] = renewals_of(key .. ':renewals', lease[1])
    end
end
return found

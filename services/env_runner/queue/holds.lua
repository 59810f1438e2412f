-- Whether a lease is still its holder's: the consumer and the delivery count are the fence.
local function holds(queue, group, entry, consumer, deliveries)
    local pending = redis.pcall('XPENDING', queue, group, entry, entry, 1)[1]
    return pending and pending[2] == consumer and pending[4] == tonumber(deliveries)
end

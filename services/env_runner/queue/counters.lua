-- Whether the counters of an evaluation are absent or whole numbers.
local function countable(evaluation)
    for _, count in ipairs({'finished', 'errored', 'score_sum'}) do
        local value = redis.call('HGET', evaluation, count)
        if value and not (#value < 16 and string.match(value, '^-?%d+$')) then return false end
    end
    return true
end

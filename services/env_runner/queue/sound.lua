-- Whether a key is of this type or absent.
local function is_of(key, wanted)
    local kind = redis.call('TYPE', key).ok
    return kind == wanted or kind == 'none'
end

-- Whether all keys of an evaluation are of the types that they should be, or absent.
local types = {queue = 'stream', specs = 'hash', results = 'hash', trajectories = 'hash', events = 'stream',
               manifest = 'list', renewals = 'hash', released = 'list'}
local function sound(evaluation)
    for name, wanted in pairs(types) do
        if not is_of(evaluation .. ':' .. name, wanted) then return false end
    end
    return redis.call('TYPE', evaluation).ok == 'hash'
end

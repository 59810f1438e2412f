-- Whether all keys of an evaluation are of the types that they should be, or absent.
local types = {queue = 'stream', specs = 'hash', results = 'hash', trajectories = 'hash', events = 'stream',
               manifest = 'list', renewals = 'hash', released = 'list'}
local function sound(evaluation)
    for name, wanted in pairs(types) do
        local kind = redis.call('TYPE', evaluation .. ':' .. name).ok
        if kind ~= wanted and kind ~= 'none' then return false end
    end
    return redis.call('TYPE', evaluation).ok == 'hash'
end

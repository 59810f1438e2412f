-- KEYS: active, evaluation, queue, renewals, released. ARGV: evaluation id. With the queue go its leases.
redis.call('HSET', KEYS[2], 'cancelled', 1)
redis.call('LREM', KEYS[1], 0, ARGV[1])
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])

-- KEYS: queue, released. ARGV: group, entry, consumer, deliveries, delivery count to leave behind.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[2], 'RETRYCOUNT', ARGV[5], 'JUSTID')
redis.call('RPUSH', KEYS[2], ARGV[2])
return 1

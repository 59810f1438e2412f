-- KEYS: queue, renewals. ARGV: group, entry, consumer, deliveries. Returns the new count while the lease holds, else 0.
if not holds(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]) then return 0 end
return count_renewal(KEYS[2], ARGV[2])

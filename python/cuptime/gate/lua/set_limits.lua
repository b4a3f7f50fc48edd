-- ARGV: epoch, then counter and limit for each.
for at = 2, #ARGV, 2 do
  redis.call('HSET', LIMITS, ARGV[at], ARGV[at + 1])
end
return 0

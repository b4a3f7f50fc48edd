-- ARGV: epoch, counters. Returns what a reserve could still take from each.
local free = {}
for at = 2, #ARGV do
  free[#free + 1] = math.max(0, limit_of(ARGV[at]) - taken_of(ARGV[at]))
end
return free

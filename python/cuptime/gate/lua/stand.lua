-- Puts in committed reservations as storage has them, whatever the limits say; each replaces the one of its order. ARGV: epoch, now_ms, reservations.
local now_ms, at = tonumber(ARGV[2]), 3
while at <= #ARGV do
  local id, body, parts
  id, body, parts, at = take_in(at, now_ms)
  local before = read(id)
  if before then
    give_back(before[3])
  end
  for _, part in ipairs(parts) do
    if part[4] then
      redis.call('HINCRBY', TAKEN, part[1], whole(part[2]))
    end
  end
  keep(id, {0, body, parts})
end
return 0

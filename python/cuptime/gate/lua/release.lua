-- ARGV: epoch, now_ms, stones_max, orders. Returns the bodies of those that were there.
local now_ms, stones_max = tonumber(ARGV[2]), tonumber(ARGV[3])
local bodies = {}
for at = 4, #ARGV do
  local id = ARGV[at]
  local record = read(id)
  if record then
    give_back(record[3])
    drop(id)
    -- The instant itself stays open: a caller may release and take something else within one millisecond.
    bury(id, now_ms - 1, now_ms, stones_max)
    bodies[#bodies + 1] = record[2]
  else
    bury(id, now_ms, now_ms, stones_max)
  end
end
return bodies

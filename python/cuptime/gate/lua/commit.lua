-- ARGV: epoch, orders. Returns those that are not there.
local gone = {}
for at = 2, #ARGV do
  local record = read(ARGV[at])
  if record then
    record[1] = 0
    keep(ARGV[at], record)
  else
    gone[#gone + 1] = ARGV[at]
  end
end
return gone

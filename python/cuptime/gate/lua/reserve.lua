-- Each reservation whole or not at all. ARGV: epoch, now_ms, hold_ms, reservations_max, reservations.
-- Returns for each '' or what refused it.
local now_ms, hold_ms, reservations_max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function reserve(id, body, parts)
  local known = read(id)
  if known then
    return known[2] == body and '' or 'order/' .. id
  end
  local refuses_until_ms = redis.call('HGET', STONES, id)
  if refuses_until_ms and now_ms <= tonumber(refuses_until_ms) then
    return 'released/' .. id
  end
  if redis.call('HLEN', HELD) >= reservations_max then
    return 'reservations/' .. ARGV[4]
  end
  local more = {}
  for _, part in ipairs(parts) do
    local key = part[1]
    if part[4] then
      more[key] = (more[key] or taken_of(key)) + part[2]
      if more[key] > limit_of(key) then
        return key
      end
    end
  end
  for key, amount in pairs(more) do
    redis.call('HSET', TAKEN, key, whole(amount))
  end
  redis.call('HDEL', STONES, id)
  redis.call('ZREM', AGES, id)
  keep(id, {now_ms + hold_ms, body, parts})
  return ''
end

local answers, at = {}, 5
while at <= #ARGV do
  local id, body, parts
  id, body, parts, at = take_in(at, now_ms)
  answers[#answers + 1] = reserve(id, body, parts)
end
return answers

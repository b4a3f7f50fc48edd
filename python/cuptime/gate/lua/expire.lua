-- ARGV: epoch, now_ms, stones_before_ms, stones_max, count_max. Returns 1 when there is more to do, else 0, and then
-- counter and amount given back for each.
local now_ms, stones_max, count_max = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
local freed = {}
local ids = redis.call('ZRANGEBYSCORE', DUE, '-inf', ARGV[2], 'LIMIT', 0, count_max)
for _, id in ipairs(ids) do
  local record = read(id)
  if record[1] > 0 and record[1] <= now_ms then
    give_back(record[3], nil, freed)
    drop(id)
    bury(id, record[1] - 1, now_ms, stones_max)
  else
    give_back(record[3], now_ms, freed)
    keep(id, record)
  end
end
local old = redis.call('ZRANGEBYSCORE', AGES, '-inf', '(' .. ARGV[3], 'LIMIT', 0, count_max)
for _, id in ipairs(old) do
  redis.call('HDEL', STONES, id)
  redis.call('ZREM', AGES, id)
end
local answer = {(#ids == count_max or #old == count_max) and 1 or 0}
for key, amount in pairs(freed) do
  answer[#answer + 1] = key
  answer[#answer + 1] = amount
end
return answer

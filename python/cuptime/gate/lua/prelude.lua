-- Put before every script. The keys of one gate share a hash tag, so they are on one slot and a script may use them all.
--   epoch   the number of the last rebuild; a caller with another one is refused
--   limits  counter -> limit          taken   counter -> taken
--   held    order -> {deadline_ms (0: committed), body, {{counter, amount, free_at_ms, is taken}, ...}}, as MessagePack
--   due     orders by the instant at which something happens to them by itself
--   stones  order -> reserves sent at or before this instant are refused        ages  orders by when their stone was put
-- Instants are below 2^53, so Lua's numbers hold them; order ids stay strings.
local EPOCH, LIMITS, TAKEN, HELD, DUE, STONES, AGES = unpack(KEYS)
local epoch = redis.call('GET', EPOCH)
if not epoch then
  return redis.error_reply('GATELOST this server has no counters')
elseif epoch ~= ARGV[1] then
  return redis.error_reply('GATESTALE ' .. epoch)
end

local function whole(number)
  return string.format('%.0f', number)
end

local function limit_of(key)
  local limit = redis.call('HGET', LIMITS, key)
  if not limit then
    local parent = string.match(key, '^(.*)/[^/]*$')
    limit = parent and redis.call('HGET', LIMITS, parent)
  end
  return tonumber(limit or 0)
end

local function taken_of(key)
  return tonumber(redis.call('HGET', TAKEN, key) or 0)
end

local function read(id)
  local packed = redis.call('HGET', HELD, id)
  return packed and cmsgpack.unpack(packed)
end

-- When something happens to it by itself, or nil.
local function next_ms(record)
  local first = record[1] > 0 and record[1] or nil
  for _, part in ipairs(record[3]) do
    if part[4] and part[3] > 0 and (not first or part[3] < first) then
      first = part[3]
    end
  end
  return first
end

local function keep(id, record)
  redis.call('HSET', HELD, id, cmsgpack.pack(record))
  local first = next_ms(record)
  if first then
    redis.call('ZADD', DUE, whole(first), id)
  else
    redis.call('ZREM', DUE, id)
  end
end

local function drop(id)
  redis.call('HDEL', HELD, id)
  redis.call('ZREM', DUE, id)
end

-- Gives back the parts still taken that are free at or before until_ms (nil: all); adds them up in `freed`.
local function give_back(parts, until_ms, freed)
  for _, part in ipairs(parts) do
    if part[4] and (not until_ms or (part[3] > 0 and part[3] <= until_ms)) then
      part[4] = false
      redis.call('HINCRBY', TAKEN, part[1], whole(-part[2]))
      if freed then
        freed[part[1]] = (freed[part[1]] or 0) + part[2]
      end
    end
  end
end

local function bury(id, refuses_until_ms, now_ms, stones_max)
  local before = tonumber(redis.call('HGET', STONES, id) or refuses_until_ms)
  redis.call('HSET', STONES, id, whole(math.max(before, refuses_until_ms)))
  redis.call('ZADD', AGES, whole(now_ms), id)
  while redis.call('ZCARD', AGES) > stones_max do
    redis.call('HDEL', STONES, redis.call('ZPOPMIN', AGES)[1])
  end
end

-- A reservation in ARGV from `at`: id, body, number of parts, then counter, amount, free_at_ms for each.
local function take_in(at, now_ms)
  local id, body, count = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  local parts = {}
  at = at + 3
  for _ = 1, count do
    local free_at_ms = tonumber(ARGV[at + 2])
    parts[#parts + 1] = {ARGV[at], tonumber(ARGV[at + 1]), free_at_ms, free_at_ms == 0 or free_at_ms > now_ms}
    at = at + 3
  end
  return id, body, parts, at
end

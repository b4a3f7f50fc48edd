-- Forgets everything and starts an epoch that no caller had: above the last one, and above any that was forgotten.
-- ARGV: now_ms. Stands alone, without the prelude.
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local epoch = string.format('%.0f', math.max(last + 1, tonumber(ARGV[1])))
redis.call('UNLINK', unpack(KEYS))
redis.call('SET', KEYS[1], epoch)
return epoch

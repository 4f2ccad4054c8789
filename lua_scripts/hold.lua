-- hold: keeps a lock for longer, if it is still one's own.
--
-- KEYS[1]  lock    string: the holder's token
-- ARGV[1]  token   one's own
-- ARGV[2]  for_ms  milliseconds from now
--
-- Returns  1 if it is held, 0 if it is somebody else's or nobody's
-- Publishes nothing.
--
local lock = KEYS[1]
local token, for_ms = ARGV[1], ARGV[2]
if redis.call('GET', lock) == token then
  return redis.call('PEXPIRE', lock, for_ms)
end
return 0

-- hold: extends a lock, if the caller still holds it.
--
-- KEYS[1]  lock    string: the holder's token
-- ARGV[1]  token   the caller's
-- ARGV[2]  for_ms  milliseconds from now
--
-- Returns  1 if it was extended, 0 if another holder or no one has the lock
-- Publishes nothing.
--
local lock = KEYS[1]
local token, for_ms = ARGV[1], ARGV[2]
if redis.call('GET', lock) == token then
  return redis.call('PEXPIRE', lock, for_ms)
end
return 0

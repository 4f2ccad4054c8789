-- lock: takes a lock if it is free.
--
-- KEYS[1]  lock    string: the holder's token
-- ARGV[1]  token   the caller's
-- ARGV[2]  for_ms  milliseconds from now
--
-- Returns  1 if it was free, 0 if another holder has it
-- Publishes nothing.
--
local lock = KEYS[1]
local token, for_ms = ARGV[1], ARGV[2]
if redis.call('EXISTS', lock) == 1 then
  return 0
end
-- Changes nothing: Redis at maxmemory refuses SET only as a script's first write (see write in includes/room.lua).
redis.call('DEL', lock)
redis.call('SET', lock, token, 'NX', 'PX', for_ms)
return 1

-- retire: an instance serves a room no longer, and no user has a stream at it. If there are streams after all, it counts
-- as dead in time.
--
-- KEYS[1]  instances  zset, see beat.lua
-- KEYS[2]  about      string, likewise
-- KEYS[3]  here       set: users with an open stream at this instance
-- ARGV[1]  me         this instance's id
--
-- Returns  1 if it is gone, 0 if there are streams
-- Publishes nothing.
--
local instances, about, here = KEYS[1], KEYS[2], KEYS[3]
local me = ARGV[1]
if redis.call('EXISTS', here) == 1 then
  return 0
end
redis.call('ZREM', instances, me)
redis.call('DEL', about)
return 1

-- beat: an instance says that it lives, and learns which others don't.
--
-- KEYS[1]  instances  zset: instance id -> epoch millisecond of its last beat (negative: being drained)
-- ARGV[1]  me         this instance's id
-- ARGV[2]  dead_ms    who has not beaten for so many milliseconds is dead
--
-- Returns  {unknown 0/1, ids of dead instances, at most 16…}; unknown: nobody knew this instance (the first beat,
--          a Redis that forgot, or it was taken for dead), so it has to tell all its users again
-- Publishes nothing.
--
--- @include clock
local instances = KEYS[1]
local me, dead_ms = ARGV[1], tonumber(ARGV[2])

local found = redis.call('TYPE', instances).ok
if found ~= 'none' and found ~= 'zset' then
  return redis.error_reply('WRONGTYPE_KEY ' .. instances)
end
local last = tonumber(redis.call('ZSCORE', instances, me) or nil)
-- Changes nothing: Redis at maxmemory refuses ZADD only as a script's first write (see write in includes/room.lua).
redis.call('ZREM', instances, '')
redis.call('ZADD', instances, now, me)
local known = last and last > 0
return {
  known and 0 or 1,
  unpack(redis.call('ZRANGEBYSCORE', instances, '-inf', now - dead_ms, 'LIMIT', 0, 16)),
}

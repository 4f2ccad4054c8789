-- beat: an instance reports that it is alive, and learns which other instances are dead.
--
-- KEYS[1]  instances  zset: instance id -> epoch millisecond of its last beat (negative: being drained)
-- KEYS[2]  about      string: what this instance reports of itself; it expires when the instance counts as dead
-- ARGV[1]  me         this instance's id
-- ARGV[2]  dead_ms    an instance without a beat for this many milliseconds is dead
-- ARGV[3]  report     for about; empty: nothing
--
-- Returns  {unknown 0/1, ids of dead instances, at most 16…}; unknown: Redis did not know this instance (its first
--          beat, a Redis that lost its data, or it counted as dead), so it has to report all its users again
-- Publishes nothing.
--
--- @include clock
local instances, about = KEYS[1], KEYS[2]
local me, dead_ms, report = ARGV[1], tonumber(ARGV[2]), ARGV[3]

local found = redis.call('TYPE', instances).ok
if found ~= 'none' and found ~= 'zset' then
  return redis.error_reply('WRONGTYPE_KEY ' .. instances)
end
local last = tonumber(redis.call('ZSCORE', instances, me) or nil)
-- Changes nothing: Redis at maxmemory refuses ZADD only as a script's first write (see write in includes/room.lua).
redis.call('ZREM', instances, '')
redis.call('ZADD', instances, now, me)
if report ~= '' then
  redis.call('SET', about, report, 'PX', dead_ms)
end
local known = last and last > 0
return {
  known and 0 or 1,
  unpack(redis.call('ZRANGEBYSCORE', instances, '-inf', now - dead_ms, 'LIMIT', 0, 16)),
}

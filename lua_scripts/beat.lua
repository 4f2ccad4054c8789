-- beat: an instance reports that it is alive, and learns which other instances are dead.
--
-- KEYS[1]  instances  zset: instance id -> epoch millisecond of its last beat (negative: being drained)
-- KEYS[2]  about      string: what this instance reports of itself; it expires when the instance counts as dead
-- KEYS[3]  pace       hash, see includes/room.lua
-- ARGV[1]  me         this instance's id
-- ARGV[2]  dead_ms    an instance without a beat for this many milliseconds is dead
-- ARGV[3]  report     for about; empty: nothing
-- ARGV[4…] errors     pairs: class and count, of users admitted whose first estimates were so far off, since the last beat;
--                     see gateway/waiting_room/spread.py
--
-- Returns  {unknown 0/1, ids of dead instances, at most 16…}; unknown: Redis did not know this instance (its first
--          beat, a Redis that lost its data, or it counted as dead), so it has to report all its users again
-- Publishes nothing.
--
--- @include clock
local instances, about, pace = KEYS[1], KEYS[2], KEYS[3]
local me, dead_ms, report = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local FIRST_ERROR = 4

local found = redis.call('TYPE', instances).ok
if found ~= 'none' and found ~= 'zset' then
  return redis.error_reply('WRONGTYPE_KEY ' .. instances)
end
for at = FIRST_ERROR, #ARGV, 2 do
  if not (string.find(ARGV[at], '^%d%d?$') and tonumber(ARGV[at + 1])) then
    return redis.error_reply('BAD_ARGUMENT errors')
  end
end
local last = tonumber(redis.call('ZSCORE', instances, me) or nil)
-- Changes nothing: Redis at maxmemory refuses ZADD only as a script's first write (see write in includes/room.lua).
redis.call('ZREM', instances, '')
redis.call('ZADD', instances, now, me)
if report ~= '' then
  redis.call('SET', about, report, 'PX', dead_ms)
end
for at = FIRST_ERROR, #ARGV, 2 do
  -- What can't be counted is left out: a report of operators is not worth a beat.
  redis.pcall('HINCRBY', pace, 'error:' .. ARGV[at], ARGV[at + 1])
end
local known = last and last > 0
return {
  known and 0 or 1,
  unpack(redis.call('ZRANGEBYSCORE', instances, '-inf', now - dead_ms, 'LIMIT', 0, 16)),
}

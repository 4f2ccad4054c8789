-- directory: an instance learns which rooms calls have made and which of them have work, and says which have work as far
-- as it knows.
--
-- KEYS[1]  rooms    zset, see enlist.lua
-- KEYS[2]  version  string, likewise
-- KEYS[3]  at_work  zset: room -> epoch millisecond at which an instance last said that it has work
-- ARGV[1]  known    the version of the list that the caller has; '': none
-- ARGV[2]  for_ms   a room counts as at work for so long
-- ARGV[3…] working  rooms that have work, as far as the caller knows
--
-- Returns  {version, rooms at work, rooms and moments as one list}; the last is missing if the caller has that version
-- Publishes nothing.
--
-- A room that has work and is not on the list is entered: Redis has lost the list, or a part of it.
--
--- @include clock
--- @include directory
local rooms, version, at_work = KEYS[1], KEYS[2], KEYS[3]
local known, for_ms = ARGV[1], tonumber(ARGV[2])
local FIRST_WORKING = 3

do
  local wrong = unsound_directory(rooms, version) or unsound_directory(at_work, version)
  if wrong then
    return wrong
  end
end
for at = FIRST_WORKING, #ARGV do
  local room = ARGV[at]
  if not redis.call('ZSCORE', rooms, room) then
    enter(rooms, version, room)
  end
  redis.call('ZREM', at_work, '')
  redis.call('ZADD', at_work, now, room)
end
redis.call('ZREMRANGEBYSCORE', at_work, '-inf', now - for_ms)
local current = redis.call('GET', version) or ''
local busy = redis.call('ZRANGE', at_work, 0, -1)
if current == known then
  return { current, busy }
end
return { current, busy, redis.call('ZRANGE', rooms, 0, -1, 'WITHSCORES') }

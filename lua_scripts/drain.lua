-- drain: one bounded step of cleaning up after a dead instance. Its users were last seen at its last beat, unless there
-- is a later sighting.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] instances  zset, see beat.lua
-- KEYS[20] there      set: users with an open stream at the dead instance
-- KEYS[21] several    hash: their numbers of streams, see presence.lua
-- ARGV[5]  dead       the instance's id
-- ARGV[6]  dead_ms    as in beat.lua; an instance that is alive again is left alone
--
-- Returns  {summary, users left 0/1}; 1: call again at once
-- Publishes nothing.
--
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include presence
--- @include summary
local instances, there, several = KEYS[19], KEYS[20], KEYS[21]
local dead, dead_ms = ARGV[5], tonumber(ARGV[6])

do
  local wrong = wrong_type(instances, 'ZCARD') or wrong_type(there, 'SCARD') or wrong_type(several, 'HLEN')
  if wrong then
    return wrong
  end
  if not dead_ms then
    return bad_argument('dead_ms')
  end
end

local last = tonumber(redis.call('ZSCORE', instances, dead) or nil)
if not last or last > now - dead_ms then
  return { summary(false), 0 }
end
-- Marked as being drained, so that an instance that comes back now learns that it has to report its users again.
local seen_ms = math.abs(last)
write('ZADD', instances, -seen_ms, dead)
local users = redis.call('SPOP', there, MOST)
for _, user in ipairs(users) do
  one_instance_less(user, math.min(seen_ms, now))
end
local finished = redis.call('EXISTS', there) == 0
if finished then
  redis.call('UNLINK', several)
  redis.call('ZREM', instances, dead)
end
return { summary(false), finished and 0 or 1 }

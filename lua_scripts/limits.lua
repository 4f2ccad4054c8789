-- limits: an operator changes a room's limits, pauses or resumes it.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[4]  new_capacity  slots, or '' to leave it
-- ARGV[5]  new_duration  milliseconds, or '' to leave it
-- ARGV[6]  new_paused    '1', '0', or '' to leave it
-- ARGV[7]  lift          '1': go back to the limits that the instances were given, before the above
--
-- Returns  {summary}
-- Publishes ADMITTED for everybody promoted.
--
-- A capacity or duration set here overrides what instances are given until it is lifted. Nobody is thrown out by a
-- lower capacity; a higher one, and resuming, promote at once.
--
--- @include clock
--- @include room
--- @include session
--- @include promote
--- @include summary
local new_capacity, new_duration = number_within(ARGV[4], 0, EXACT), number_within(ARGV[5], 1, EXACT)
local new_paused, lift = ARGV[6], ARGV[7] == '1'

if lift then
  local declared = redis.call('HMGET', settings, 'declared_capacity', 'declared_duration_ms')
  capacity = number_within(declared[1], 0, EXACT) or default_capacity
  duration = number_within(declared[2], 1, EXACT) or default_duration
  redis.call('HDEL', settings, 'override')
end
if new_capacity or new_duration then
  redis.call('HSET', settings, 'override', '1')
  capacity = new_capacity or capacity
  duration = new_duration or duration
end
if lift or new_capacity or new_duration then
  redis.call('HSET', settings,
    'capacity', string.format('%.0f', capacity), 'duration_ms', string.format('%.0f', duration))
end
-- Before pausing takes effect, so that the time until now counts for the pace, and time paused does not.
keep_pace(true)
if new_paused ~= '' then
  paused = new_paused == '1'
  redis.call('HSET', settings, 'paused', paused and '1' or '0')
end
promote()
keep_pace(false)
return { summary(false) }

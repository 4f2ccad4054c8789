-- limits: an operator changes a room's limits, pauses or resumes it.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5]  new_capacity  slots, or '' for no change
-- ARGV[6]  new_duration  milliseconds, or '' for no change
-- ARGV[7]  new_paused    '1', '0', or '' for no change
-- ARGV[8]  lift          '1': first go back to all that the instances are configured with
-- ARGV[9]  new_rules     further settings as text, see rules_of in includes/room.lua; 'absent=' goes back to what the
--                        instances are configured with for this one; '' for no change
--
-- Returns  {summary}
-- Publishes ADMITTED for each user promoted.
--
-- A value set here overrides what instances are configured with until it is lifted. A lower capacity ends no session; a
-- higher one promotes users at once, and so does resuming.
--
--- @include clock
--- @include room
--- @include rate
--- @include tickets
--- @include place
--- @include parking
--- @include session
--- @include promote
--- @include rules
--- @include summary
local new_capacity, new_duration, new_paused, lift, new_rules = ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9]

if new_capacity ~= '' and not limit(new_capacity, 0) then
  return bad_argument('new_capacity')
end
if new_duration ~= '' and not limit(new_duration, 1) then
  return bad_argument('new_duration')
end
if new_paused ~= '' and new_paused ~= '0' and new_paused ~= '1' then
  return bad_argument('new_paused')
end
if not sound_rules(new_rules) then
  return bad_argument('new_rules')
end
new_capacity, new_duration = limit(new_capacity, 0), limit(new_duration, 1)

if lift then
  local declared = redis.call('HMGET', settings, 'declared_capacity', 'declared_duration_ms')
  capacity = limit(declared[1], 0) or default_capacity
  duration = limit(declared[2], 1) or default_duration
  redis.call('HDEL', settings, 'override')
end
if new_capacity or new_duration then
  write('HSET', settings, 'override', '1')
  capacity = new_capacity or capacity
  duration = new_duration or duration
end
if lift or new_capacity or new_duration then
  write('HSET', settings,
    'capacity', string.format('%.0f', capacity), 'duration_ms', string.format('%.0f', duration))
  read_rules()
end
-- Before pausing takes effect: the time until now counts for the pace, and time paused does not. Before promoting: a
-- user who gets a new slot says nothing about how long others hold theirs.
keep_pace(true)
if new_paused ~= '' then
  paused = new_paused == '1'
  write('HSET', settings, 'paused', paused and '1' or '0')
end
if lift or new_rules ~= '' then
  change_rules(new_rules, lift)
end
promote()
return { summary(false) }

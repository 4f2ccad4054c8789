-- report: the numbers of the last minutes, for operators.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] watch    hash, see sweep.lua
-- KEYS[20] minutes  zset, see includes/minutes.lua
-- ARGV[5]  count    how many minutes, with the present one
--
-- Returns  {summary, the present minute, the numbers so far of the minute under way, those of earlier minutes…}; numbers as
--          JSON, see includes/minutes.lua
-- Publishes nothing.
--
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include minutes
--- @include summary
local watch, minutes, count = KEYS[19], KEYS[20], tonumber(ARGV[5])

do
  local wrong = wrong_type(watch, 'HLEN') or wrong_type(minutes, 'ZCARD')
  if wrong then
    return wrong
  end
  if not limit(count, 1) then
    return bad_argument('count')
  end
end

local this_minute = math.floor(now / 60000)
local minute, totals = minute_under_way(watch, this_minute)
local earliest = '(' .. string.format('%.0f', this_minute - math.min(count, MINUTES_KEPT))
return {
  summary(false),
  this_minute,
  cjson.encode((minute_numbers(minute, totals))),
  unpack(redis.call('ZRANGEBYSCORE', minutes, earliest, '+inf')),
}

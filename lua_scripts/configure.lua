-- configure: an instance starts and passes the limits that it is configured with.
--
-- KEYS     those of a room, see includes/room.lua; what is configured is in default_capacity, default_duration and
--          default_rules
-- KEYS[19] watch      hash, see sweep.lua
-- ARGV[5]  follow     as in sweep.lua
-- ARGV[6]  follow_ms  as in sweep.lua
-- ARGV[7]  starting   '1': the instance has just started; '0': it goes on with other limits
-- ARGV[8]  make_until  a room that was not there may be made until this moment (ms); '': at any time
--
-- Returns  {summary, {capacity before, duration_ms before, 'override' or ''}}; before: -1 if there was none
-- Publishes ADMITTED for each user promoted.
--
-- Answers NEWER_SCHEMA, and does nothing, if the instance starts and a later version has already written to the room. An
-- instance that runs meanwhile may go on: two neighbouring versions keep the rules side by side.
--
-- Limits are written only if they differ from those that the last instance was configured with. So an instance that
-- restarts with the same limits changes nothing, and an operator's override stands until it is lifted. This is the
-- first call of an instance, so it checks for an older system before it promotes any user.
--
--- @all
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include tickets
--- @include place
--- @include opening
--- @include parking
--- @include session
--- @include promote
--- @include rules
--- @include older
--- @include summary
local watch = KEYS[19]
local follow, follow_ms, starting, make_until = ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1', ARGV[8]

do
  local wrong = wrong_type(watch, 'HLEN') or wrong_type_of_kept(true) or wrong_type_of_history()
  if wrong then
    return wrong
  end
  if not ({ auto = true, on = true, off = true })[follow] or not limit(follow_ms, 1) then
    return bad_argument('follow, follow_ms')
  end
end

do
  local schema = number_within(redis.call('HGET', settings, 'schema'), SCHEMA + 1, EXACT)
  if schema and starting then
    return redis.error_reply('NEWER_SCHEMA ' .. string.format('%.0f', schema))
  end
  if not sound_rules(default_rules) then
    return bad_argument('default_rules')
  end
  if make_until ~= '' and not stored_limits[1] and now > (limit(make_until, 0) or 0) then
    return redis.error_reply('NO_SUCH_ROOM')
  end
end

local stands = overrides()

local function declare(field, given)
  local declared = 'declared_' .. field
  local text = string.format('%.0f', given)
  if redis.call('HGET', settings, declared) == text then
    return false
  end
  write('HSET', settings, declared, text)
  if not stands[field] then
    write('HSET', settings, field, text)
    return true
  end
  return false
end

local anew = not swept_lately(watch)
judge(follow, follow_ms, anew, anew and strangers(), 0)
if declare('capacity', default_capacity) then
  capacity = default_capacity
end
if declare('duration_ms', default_duration) then
  duration = default_duration
  read_rules()
end
declare_rules()
-- Before promoting, for the reason given in limits.lua.
keep_pace(true)
promote()
return {
  summary(false),
  {
    stored_capacity or -1,
    stored_duration or -1,
    (stands.capacity or stands.duration_ms) and 'override' or '',
  },
}

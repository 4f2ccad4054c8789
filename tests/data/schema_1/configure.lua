-- configure: an instance starts and passes the limits that it is configured with.
--
-- KEYS     those of a room, see includes/room.lua; the configured limits are default_capacity and default_duration
-- KEYS[12] watch      hash, see sweep.lua
-- ARGV[4]  follow     as in sweep.lua
-- ARGV[5]  follow_ms  as in sweep.lua
--
-- Returns  {summary, {capacity before, duration_ms before, 'override' or ''}}; before: -1 if there was none
-- Publishes ADMITTED for each user promoted.
--
-- Limits are written only if they differ from those that the last instance was configured with. So an instance that
-- restarts with the same limits changes nothing, and an operator's override stands until it is lifted. This is the
-- first call of an instance, so it checks for an older system before it promotes any user.
--
--- @include clock
--- @include room
--- @include session
--- @include promote
--- @include older
--- @include summary
local watch = KEYS[12]
local follow, follow_ms = ARGV[4], tonumber(ARGV[5])

do
  local wrong = wrong_type({ { watch, 'hash' } })
  if wrong then
    return wrong
  end
  if not ({ auto = true, on = true, off = true })[follow] or not limit(follow_ms, 1) then
    return bad_argument('follow, follow_ms')
  end
end

local override = redis.call('HGET', settings, 'override')

local function declare(field, given)
  local declared = 'declared_' .. field
  local text = string.format('%.0f', given)
  if redis.call('HGET', settings, declared) == text then
    return false
  end
  write('HSET', settings, declared, text)
  if override ~= '1' then
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
end
-- Before promoting, for the reason given in limits.lua.
keep_pace(true)
promote()
return {
  summary(false),
  {
    stored_capacity or -1,
    stored_duration or -1,
    override == '1' and 'override' or '',
  },
}

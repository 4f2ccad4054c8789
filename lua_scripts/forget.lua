-- forget: looks whether a room that calls had made is still of use. If no one was in it for long, all its keys are
-- deleted.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] instances  zset, see beat.lua
-- KEYS[20] drawn      string: what is published of a draw, as long as it is kept
-- KEYS[21…] others    all other keys of the room but those that expire by themselves
-- ARGV[5]  idle_ms    how long no one must have been in it
-- ARGV[6]  dead_ms    an instance without a beat for this many milliseconds is dead
--
-- Returns  {code, milliseconds until there may be something to do}; codes: USED (there are users), KEPT (there are none,
--          but operators have said something of the room, or it is about to open, or a draw is still published), IDLE,
--          FORGOTTEN
-- Publishes nothing.
--
-- The room counts as idle from the first look that finds it empty. If the totals show at the next look that someone was in
-- it meanwhile, that counts as the first one. It is not forgotten while an instance still runs it.
--
--- @include clock
--- @include room
--- @include lanes
local instances, drawn = KEYS[19], KEYS[20]
local idle_ms, dead_ms = limit(ARGV[5], 0), limit(ARGV[6], 1)
local FIRST_OTHER = 21
local USED, KEPT, IDLE, FORGOTTEN = 0, 1, 2, 3
local SOON_MS = 1000
-- Fields of settings that only operators write.
local OPERATORS = { 'override', 'operator_rules', 'paused', 'doors', 'notice' }
local MEANINGLESS = { ['0'] = true, [''] = true }

do
  local wrong = wrong_type(instances, 'ZCARD') or wrong_type(registered, 'ZCARD')
  if wrong then
    return wrong
  end
  if not (idle_ms and dead_ms) then
    return bad_argument('idle_ms, dead_ms')
  end
end

local function is_used()
  return waiting > 0 or held > 0 or parked_count > 0 or redis.call('ZCARD', registered) > 0
    or redis.call('HLEN', streams) > 0 or rule.under_way
end

-- Whether an instance still runs the room, which it does for a while after the last user has gone.
local function is_served()
  return redis.call('ZCOUNT', instances, '(' .. string.format('%.0f', now - dead_ms), '+inf') > 0
end

local function is_kept()
  for _, value in ipairs(redis.call('HMGET', settings, unpack(OPERATORS))) do
    if value and not MEANINGLESS[value] then
      return true
    end
  end
  -- What a service has said is left does not keep the room.
  local by_operator = string.find(redis.call('HGET', settings, 'stock') or '', ' operator', 1, true)
  return by_operator or rule.opens_at > now or redis.call('EXISTS', drawn) == 1
end

-- The totals that change whenever a user gets a place or a slot.
local function totals()
  local counts = redis.call('HMGET', tally, 'lineups', 'admitted', 'registrations')
  return (counts[1] or 0) .. ' ' .. (counts[2] or 0) .. ' ' .. (counts[3] or 0)
end

if is_used() then
  return { USED, 0 }
end
if is_kept() then
  return { KEPT, 0 }
end
local seen = redis.call('HMGET', settings, 'idle_since', 'idle_totals')
local idle_since, before = limit(seen[1], 0), seen[2]
if not idle_since or idle_since > now or before ~= totals() then
  idle_since = now
  write('HSET', settings, 'idle_since', string.format('%.0f', now), 'idle_totals', totals())
end
if now - idle_since < idle_ms then
  return { IDLE, idle_ms - (now - idle_since) }
end
if is_served() then
  return { IDLE, SOON_MS }
end
redis.call('UNLINK', unpack(KEYS, 1, FIRST_OTHER - 1))
redis.call('UNLINK', unpack(KEYS, FIRST_OTHER))
for _, key in pairs(lane_keys or {}) do
  redis.call('UNLINK', key)
end
return { FORGOTTEN, 0 }

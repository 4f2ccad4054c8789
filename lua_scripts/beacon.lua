-- beacon: an operator enters the public random value that a draw waits for.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] draw   hash, see gather.lua
-- KEYS[20] audit  stream, see includes/audit.lua
-- ARGV[5]  value  of the beacon
-- ARGV[6]  by     the operator's name
-- ARGV[7]  why    the operator's reason, or ''
--
-- Returns  {summary, code}; codes: ACCEPTED, NO_DRAW (there is no draw that has a beacon), TOO_EARLY (the close, or the
--          root of the entries, is still to come), KNOWN (the value has been entered already)
-- Publishes nothing.
--
-- A value is accepted only when the root is known, so that no one could choose entries by the value.
--
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include audit
--- @include summary
local draw, audit, value, by, why = KEYS[19], KEYS[20], ARGV[5], ARGV[6], ARGV[7]
local NO_DRAW, ACCEPTED, TOO_EARLY, KNOWN = 0, 1, 2, 3

do
  local wrong = unsound_audit(audit, by) or wrong_type(draw, 'HLEN')
  if wrong then
    return wrong
  end
  if value == '' then
    return bad_argument('value')
  end
end

local stored = redis.call('HMGET', draw, 'beacon_name', 'beacon')
local opening = rule.opening

local function answer()
  if not opening or (stored[1] or '') == '' then
    return NO_DRAW
  end
  if stored[2] then
    return KNOWN
  end
  return opening.phase == 'awaiting' and ACCEPTED or TOO_EARLY
end

local code = answer()
if code == ACCEPTED then
  write('HSET', draw, 'beacon', value)
  opening.phase = 'closed'
  write_opening()
  note_change({ audit, by, why }, 'beacon', '', '', '', value)
end
return { summary(false), code }

-- rank: a gateway has computed the draw of a pre-queue that is closed: its root and, if the beacon's value is known or
-- none is needed, its order.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] draw    hash, see gather.lua
-- ARGV[5]  value   the moment of opening (ms) that the gateway has read
-- ARGV[6]  root    of the entries, in hex; '' without a draw
-- ARGV[7]  digest  of the order, so that only this one is placed; '' if the beacon's value is not known yet
--
-- Returns  {summary, code}; codes: DONE, ELSE (the room is no longer where the gateway has read it)
-- Publishes nothing.
--
-- Fails with 'DRAW_DIFFERS' if another gateway has computed another root.
--
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include summary
local draw, value, root, digest = KEYS[19], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local DONE, ELSE = 1, 0
local opening = rule.opening

do
  local wrong = wrong_type(draw, 'HLEN')
  if wrong then
    return wrong
  end
  if not limit(value, 0) then
    return bad_argument('value')
  end
end
if not opening or opening.phase ~= 'closed' or opening.value ~= value then
  return { summary(false), ELSE }
end
local known = redis.call('HGET', draw, 'root')
if known and known ~= root then
  return redis.error_reply('DRAW_DIFFERS ' .. known)
end
if not known and root ~= '' then
  write('HSET', draw, 'root', root)
end
if digest ~= '' then
  write('HSET', draw, 'digest', digest)
  opening.phase = 'ranked'
else
  opening.phase = 'awaiting'
end
write_opening()
return { summary(false), DONE }

-- draw: what is known of a room's pre-queue and its draw, for gateways. It changes nothing.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] draw  hash, see gather.lua
--
-- Returns  {summary, phase, value, size, placed, fields…}; phase: '' without a pre-queue; value: the moment of opening
--          (ms) after the close; fields: names and values of the hash
-- Publishes nothing.
--
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include summary
local draw = KEYS[19]

do
  local wrong = wrong_type(draw, 'HLEN')
  if wrong then
    return wrong
  end
end
local opening = rule.opening or { phase = '', value = 0, size = 0, placed = 0 }
return {
  summary(false), opening.phase, string.format('%.0f', opening.value), opening.size, opening.placed,
  unpack(redis.call('HGETALL', draw)),
}

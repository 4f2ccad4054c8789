-- gather: a gateway begins the pre-queue of a room, if it is time and none has begun.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] draw        hash: order, secret, commitment, salt_key, beacon_name, and later root, beacon and digest
-- KEYS[20] drawn       string: the entries of the draw, 32 bytes each, that of rank 1 first
-- ARGV[5]  order       'draw' or 'arrival'
-- ARGV[6]  secret      of the draw, in hex
-- ARGV[7]  commitment  of the secret, in hex
-- ARGV[8]  salt_key    what the users' salts are made of, in hex
-- ARGV[9]  beacon      the name of the public random value; '' for none
--
-- Returns  {summary}
-- Publishes nothing.
--
-- What the first gateway brings holds, and another one changes nothing. What was published of the last draw is dropped.
--
--- @all
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include summary
local draw, drawn, order, secret, commitment = KEYS[19], KEYS[20], ARGV[5], ARGV[6], ARGV[7]
local salt_key, beacon = ARGV[8], ARGV[9]

do
  local wrong = wrong_type(registered, 'ZCARD') or wrong_type(draw, 'HLEN') or wrong_type(drawn, 'STRLEN')
  if wrong then
    return wrong
  end
  if order ~= 'draw' and order ~= 'arrival' then
    return bad_argument('order')
  end
end

if entrance() == 'gather' and not (rule.opening and rule.opening.phase == 'gathering') then
  rule.opening = { phase = 'gathering', value = 0, base = 0, size = 0, placed = 0, gone = 0 }
  redis.call('UNLINK', registered, draw, drawn)
  if order == 'draw' then
    write('HSET', draw, 'order', order, 'secret', secret, 'commitment', commitment, 'salt_key', salt_key,
      'beacon_name', beacon)
  else
    write('HSET', draw, 'order', order)
  end
  write_opening()
end
return { summary(false) }
